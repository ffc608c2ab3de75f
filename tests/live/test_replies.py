"""`ask` and `last-message` with the real Claude Code: exactly the reply of that turn, at any time."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time

import pytest
from lab import Lab
from soak import size

QUICK = size(2, 50)


def on_a_terminal(lab: Lab, *args: str) -> str:
    """The output of a command on a terminal, with the terminal's line ends undone."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        lab.argv(*args), env=lab.env, cwd=lab.project, stdin=subprocess.DEVNULL, stdout=its, stderr=subprocess.DEVNULL
    )
    os.close(its)
    content = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # Linux: the last process on the other side has closed it
            break
        if not block:
            break
        content += block
    os.close(ours)
    assert process.wait(30) == 0
    return content.decode().replace("\r\n", "\n")


@pytest.mark.soak
def test_quick_turns_each_with_its_own_reply(shared: Lab, talker: str) -> None:
    """Read at once after the end, when the transcript may not be written yet."""
    for number in range(QUICK):
        assert shared.ok("ask", talker, f"[[reply: asked {number}]]") == f"asked {number}"
        assert shared.ok("last-message", talker) == f"asked {number}"
        shared.ok("send", talker, f"[[reply: sent {number}]]")
        assert shared.ok("wait", talker) == "completed"
        assert shared.run("last-message", talker, "-n", "2", "--json").json == [f"asked {number}", f"sent {number}"]


@pytest.mark.soak
def test_quick_turns_through_one_shell(shared: Lab, talker: str) -> None:
    """As a script does it: without a test's pause between the end and the reading of the reply."""
    ours = " ".join(shared.argv())
    script = "".join(
        f"{ours} send {talker} '[[reply: shell {number}]]' >/dev/null && {ours} wait {talker} >/dev/null && "
        f"{ours} last-message {talker} || exit 1\n"
        for number in range(QUICK)
    )
    done = subprocess.run(["sh", "-c", script], env=shared.env, cwd=shared.project, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"shell {number}" for number in range(QUICK)]


def test_same_reply_twice(shared: Lab, talker: str) -> None:
    assert shared.ok("ask", talker, "[[reply: different]]") == "different"
    for _ in range(2):
        assert shared.ok("ask", talker, "[[reply: the same]]") == "the same"
    told = shared.run("last-message", talker, "-n", "3", "--json").json
    assert told == ["different", "the same", "the same"]
    assert shared.ok("ask", talker, "[[reply: a longer the same]]") == "a longer the same"
    assert shared.ok("ask", talker, "[[reply: the same]]") == "the same"
    assert shared.run("last-message", talker, "-n", "2", "--json").json == ["a longer the same", "the same"]


def test_ask_for_programs(shared: Lab, talker: str) -> None:
    told = shared.run("ask", talker, "--json", "--request-id", "asked-1", "[[reply: for programs]]")
    turn = told.json["turn"]
    nothing = {"error": None, "reason": None, "resets_at": None}
    assert told.json == {
        "session": talker,
        "turn": turn,
        "outcome": "completed",
        "turns": [{"turn": turn, "outcome": "completed", "reply": "for programs", **nothing}],
        **nothing,
        "question": None,
        "receipt": "started",
        "via": "terminal",
        "reply": "for programs",
    }
    again = shared.run("ask", talker, "--json", "--request-id", "asked-1", "[[reply: for programs]]")
    assert again.json == told.json
    assert shared.prompts(talker).count("[[reply: for programs]]") == 1


def test_text_before_a_tool_call(shared: Lab, talker: str) -> None:
    text = "[[reply: Let me look.]][[bash: echo tool-output]][[reply: Found it.\\n\\nAll good.]]"
    assert shared.ok("ask", talker, text) == "Found it.\n\nAll good."
    assert shared.ok("last-message", talker) == "Found it.\n\nAll good."
    assert shared.ok("last-message", talker, "-n", "2") == "Let me look.\n\nFound it.\n\nAll good."
    told = shared.run("last-message", talker, "-n", "2", "--json").json
    assert told == ["Let me look.", "Found it.\n\nAll good."]
    assert "tool-output" not in shared.ok("last-message", talker, "-n", "5")
    silent = shared.run("ask", talker, "--json", "[[bash: true]][[bash: true]][[reply: after two tools]]")
    assert silent.json["reply"] == "after two tools"


def test_accepted_while_thinking_has_its_own_reply(shared: Lab, talker: str) -> None:
    first = shared.start("ask", talker, "[[hold: own]][[reply: reply of the first]]")
    assert shared.model.wait_until_blocked("own")
    second = shared.start("ask", talker, "[[reply: reply of the second]]")
    shared.until(lambda: shared.run("status", talker, "--json").json["turn"] and _accepted(shared, talker), "accepted")
    shared.model.release("own")
    assert shared.finish(first)[:2] == (0, "reply of the first\n")
    assert shared.finish(second)[:2] == (0, "reply of the second\n")
    told = shared.run("last-message", talker, "-n", "2", "--json").json
    assert told == ["reply of the first", "reply of the second"]


def _accepted(lab: Lab, id: str) -> bool:
    receipts = sorted((lab.folder(id) / "messages").glob("*/receipt.json"))
    return json.loads(receipts[-1].read_text())["receipt"] == "accepted"


def test_accepted_during_a_tool_shares_the_reply(shared: Lab, talker: str) -> None:
    """A message that joins the running turn has that turn's reply: there is no other."""
    gate, runs = shared.path / "joined", shared.path / "runs"
    command = f"touch {runs}; while [ ! -e {gate} ]; do python3 -c 'import time; time.sleep(0.05)'; done"
    first = shared.start("ask", talker, f"[[bash: {command}]][[reply: the common reply]]")
    shared.until(runs.exists, "the tool call")
    second = shared.start("ask", talker, "and mind this")
    shared.until(lambda: _accepted(shared, talker), "accepted")
    gate.touch()
    assert shared.finish(first)[:2] == (0, "the common reply\n")
    assert shared.finish(second)[:2] == (0, "the common reply\n")


def test_background_work_is_not_the_reply(shared: Lab, talker: str) -> None:
    gate = shared.path / "background"
    command = f"while [ ! -e {gate} ]; do python3 -c 'import time; time.sleep(0.05)'; done"
    asked = shared.run("ask", talker, "--json", f"[[bash_bg: {command}]][[reply: It runs in the background.]]")
    assert asked.json["reply"] == "It runs in the background."
    assert shared.ok("last-message", talker) == "It runs in the background."
    assert shared.run("status", talker, "--json").json["background"] == 1
    prompts = len(shared.prompts(talker))
    gate.touch()
    assert shared.run("wait", talker, "--settled").code == 0
    shared.until(lambda: len(shared.prompts(talker)) > prompts, "the agent's waking")
    shared.until(lambda: shared.ok("status", talker) == "idle", "rest")
    later = shared.run("wait", talker, "--turn", str(asked.json["turn"]), "--json").json
    assert later["turns"] == asked.json["turns"]
    again = shared.run("wait", talker, "--json").json
    assert (again["turn"], again["turns"]) == (asked.json["turn"], asked.json["turns"])
    assert "It runs in the background." in shared.run("last-message", talker, "-n", "2", "--json").json


def test_reply_of_many_paragraphs_and_signs(shared: Lab, talker: str) -> None:
    words = "# Title\n\nOne – “two” 👩🏽\u200d🔬 日本語 שלום é e\u0301.\n\n\n"
    reply = words + '```sh\n\techo "$HOME" `x` \\\\ #{pane}\n```\n\n- last; & <b>'
    assert shared.ok("ask", talker, "[[reply: " + reply.replace("\n", "\\n") + "]]") == reply
    assert shared.ok("last-message", talker) == reply
    assert shared.run("last-message", talker, "--json").json == [reply]
    assert on_a_terminal(shared, "last-message", talker) == reply + "\n"


# 8-bit and 7-bit forms: colour, title, bell, cursor, a delete.
CONTROLS = "a\x9b31mred\x07 bell\x08 back \x7f del \x01 \x90q end"


def test_control_characters_are_kept_from_terminals_only(shared: Lab, talker: str) -> None:
    done = shared.run("ask", talker, "--json", "--file", "-", stdin=f"[[reply: {CONTROLS}]]")
    assert done.json["reply"] == CONTROLS
    assert shared.ok("last-message", talker) == CONTROLS
    shown = on_a_terminal(shared, "last-message", talker)
    assert "red" in shown
    assert "end" in shown
    assert [sign for sign in shown if sign != "\n" and not sign.isprintable()] == []
    again = on_a_terminal(shared, "ask", talker, f"[[reply: asked {CONTROLS}]]")
    assert again.startswith("asked a")
    assert [sign for sign in again if sign != "\n" and not sign.isprintable()] == []


def test_reply_of_100_kilobytes(shared: Lab) -> None:
    """The prompt is pasted by a person, because only a paste is large enough: the model's script is in the prompt."""
    id = shared.create()
    reply = "\\n".join(f"{number:05d} " + "x" * 94 for number in range(1000))
    path = shared.path / "long"
    path.write_text(f"[[reply: {reply}]]")
    shared.tmux("load-buffer", "-b", "long", str(path))
    shared.tmux("paste-buffer", "-p", "-b", "long", "-t", f"=dev-{id}:")
    shared.until(lambda: "[Pasted text" in shared.screen(id), "the paste in the box")
    shared.keys(id, "Enter")
    expected = reply.replace("\\n", "\n")
    shared.until(lambda: shared.run("last-message", id, "--json").json == [expected], "the long reply")
    assert shared.ok("last-message", id) == expected
    assert on_a_terminal(shared, "last-message", id) == expected + "\n"
    tool = "[[bash: python3 -c \"print('y' * 29000)\"]]"
    assert shared.ok("ask", id, tool + "[[replytool: 29000]]") == "y" * 29_000
    assert shared.run("last-message", id, "-n", "2", "--json").json == [expected, "y" * 29_000]
    shared.ok("kill", id)


def test_reply_of_several_blocks(shared: Lab, talker: str) -> None:
    """Each text block is a message: `ask` and `last-message` return the last one, like Claude's own report."""
    assert shared.ok("ask", talker, "[[reply: Block one.]][[reply: Block two.]]") == "Block two."
    assert shared.ok("last-message", talker) == "Block two."
    assert shared.run("last-message", talker, "-n", "2", "--json").json == ["Block one.", "Block two."]


def test_blank_reply(shared: Lab, talker: str) -> None:
    """If the model returns no text, Claude asks it again: the reply is the new text, not the text before."""
    assert shared.ok("ask", talker, "[[reply: words]]") == "words"
    told = shared.run("ask", talker, "--json", "[[reply: \\n]]")
    assert (told.code, told.json["outcome"]) == (0, "completed")
    assert told.json["reply"] != "words"
    assert shared.run("last-message", talker, "-n", "2", "--json").json == ["words", told.json["reply"]]


def answer(lab: Lab, id: str, key: str) -> None:
    """Answer an open question as an attached person does; Claude ignores keys when a dialog has only just appeared."""
    pressed = 0.0

    def answered() -> bool:
        nonlocal pressed
        if time.monotonic() - pressed > 1.5 and "❯ 1." in lab.screen(id):
            lab.keys(id, key)
            pressed = time.monotonic()
        return lab.ok("status", id) != "waiting_for_input"

    lab.until(answered, "the end of the question")


def test_last_message_while_a_turn_runs(shared: Lab, talker: str) -> None:
    assert shared.ok("ask", talker, "[[reply: finished]]") == "finished"
    shared.ok("send", talker, "[[reply: Not yet.]][[bash: true]][[hold: running]][[reply: now]]")
    assert shared.model.wait_until_blocked("running")
    shown = shared.run("last-message", talker)
    assert (shown.code, shown.out) == (0, "finished\n")
    assert f"dev-sessions wait {talker}" in shown.err
    told = shared.run("last-message", talker, "--json")
    assert (told.json, told.err) == (["finished"], shown.err)
    shared.model.release("running")
    assert shared.ok("wait", talker) == "completed"
    after = shared.run("last-message", talker)
    assert (after.out, after.err) == ("now\n", "")
    assert shared.run("last-message", talker, "-n", "3", "--json").json == ["finished", "Not yet.", "now"]


def test_count(shared: Lab, talker: str) -> None:
    for number in range(3):
        shared.ok("ask", talker, f"[[reply: count {number}]]")
    expected = [f"count {number}" for number in range(3)]
    assert shared.run("last-message", talker, "-n", "3", "--json").json == expected
    assert shared.ok("last-message", talker, "--count", "3") == "\n\n".join(expected)
    assert shared.ok("last-message", "-n", "1", talker) == "count 2"
    many = shared.run("last-message", talker, "-n", "1000", "--json").json
    assert many[-3:] == expected
    assert len(many) < 1000


def test_nothing_said_and_the_agent_dies_while_asked(shared: Lab) -> None:
    id = shared.create()
    shown = shared.run("last-message", id)
    assert (shown.code, shown.out) == (0, "")
    assert "has not written anything yet" in shown.err
    assert shared.run("last-message", id, "--json").json == []
    shared.ok("ask", id, "[[reply: first words]]")
    assert shared.ok("ask", id, "[[reply: last words]]") == "last words"
    asking = shared.start("ask", id, "[[hold: dies]][[reply: never]]")
    assert shared.model.wait_until_blocked("dies")
    os.kill(shared.pid(id), signal.SIGKILL)
    done = shared.finish(asking)
    assert (done.code, done.out) == (5, "")
    assert "gone" in done.err
    assert shared.ok("last-message", id) == "last words"
    assert shared.run("last-message", id, "-n", "2", "--json").json == ["first words", "last words"]
    shared.ok("kill", id)
    gone = shared.run("last-message", id)
    assert (gone.code, gone.out) == (3, "")


def test_failed_turn(shared: Lab, talker: str) -> None:
    assert shared.ok("ask", talker, "[[reply: before the failure]]") == "before the failure"
    shown = shared.run("ask", talker, "[[error: 400]] plainly")
    assert (shown.code, shown.out) == (5, "")
    assert "scripted error 400" in shown.err
    told = shared.run("ask", talker, "--json", "[[error: 400]] for programs")
    assert told.code == 5
    assert told.json["outcome"] == "failed"
    assert told.json["reply"] is None
    assert "scripted error 400" in told.json["error"]
    assert shared.ok("last-message", talker) == "before the failure"
    assert shared.ok("ask", talker, "[[reply: and on]]") == "and on"


def test_interrupted_while_asked(shared: Lab, talker: str) -> None:
    asking = shared.start("ask", talker, "[[hold: interrupted]][[reply: never]]")
    assert shared.model.wait_until_blocked("interrupted")
    assert shared.ok("interrupt", talker) == "interrupted"
    done = shared.finish(asking)
    assert (done.code, done.out) == (5, "")
    assert "interrupted" in done.err
    assert shared.ok("ask", talker, "[[reply: on again]]") == "on again"


def test_timeout_leaves_the_agent_at_it(shared: Lab, talker: str) -> None:
    shown = shared.run("ask", talker, "--timeout", "0.5", "[[hold: late]][[reply: came late]]")
    assert (shown.code, shown.out) == (124, "")
    assert f"dev-sessions wait {talker}" in shown.err
    assert shared.ok("status", talker) == "working"
    assert shared.run("wait", talker, "--timeout", "0.1").code == 124
    shared.model.release("late")
    over = shared.run("wait", talker, "--json")
    assert over.code == 0
    assert over.json["turns"][0]["reply"] == "came late"
    assert shared.ok("last-message", talker) == "came late"
    told = shared.run("ask", talker, "--json", "--timeout", "0.5", "[[hold: later]][[reply: came later]]")
    assert told.code == 124
    error = told.json["error"]
    assert error["code"] == "timeout"
    assert error["data"]["session"] == talker
    turn = error["data"]["turn"]
    shared.model.release("later")
    assert shared.run("wait", talker, "--turn", str(turn), "--json").json["turns"][0]["reply"] == "came later"


def test_question_comes_while_asked(shared: Lab, talker: str) -> None:
    shown = shared.run("ask", talker, "[[reply: I have to know.]][[ask: Tea or milk?|Tea|Milk]][[replytool: 200]]")
    assert (shown.code, shown.out) == (6, "")
    assert "Tea or milk?" in shown.err
    assert "1. Tea" in shown.err
    assert "2. Milk" in shown.err
    again = shared.run("ask", talker, "--json", "hello")
    assert again.code == 6
    assert again.json["error"]["code"] == "waiting_for_input"
    answer(shared, talker, "1")
    assert shared.ok("wait", talker) == "completed"
    assert "Tea" in shared.ok("last-message", talker)
    told = shared.run("ask", talker, "--json", "[[ask: Red or blue?|Red|Blue]][[reply: chosen]]")
    assert told.code == 6
    assert told.json["outcome"] == "waiting_for_input"
    assert told.json["reply"] is None
    assert told.json["question"]["text"] == "Red or blue?"
    answer(shared, talker, "1")
    assert shared.ok("wait", talker) == "completed"
    assert shared.ok("last-message", talker) == "chosen"
