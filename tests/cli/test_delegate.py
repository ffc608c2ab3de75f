"""`sync-delegate` and `handoff`: one session, one briefing."""

from __future__ import annotations

import os
import signal

import pytest

from dev_sessions.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Commands

FIELDS = {"session", "turn", "outcome", "turns", "error", "reason", "resets_at", "question", "reply", "kept"}
BLOCKED = r'I could not.\n```json\n{"status": "BLOCKED", "open_questions": ["which one?"]}\n```'


def ids(run: Commands) -> list[str]:
    return [row["id"] for row in run.json("list")]


@pytest.mark.gateway
def test_the_reply_is_printed_and_nothing_is_left(run: Commands) -> None:
    done = run("sync-delegate", "[[reply: all good]]", "--cli", "fake")
    assert (done.code, done.out) == (0, "all good\n")
    assert "is working on it" in done.err
    assert ids(run) == []
    assert run.lab.processes() == []


def test_json_has_the_fields_of_wait_and_the_reply(run: Commands) -> None:
    done = run("sync-delegate", "[[reply: all good]]", "--cli", "fake", "--json")
    assert done.err == ""
    assert set(done.json) == FIELDS
    assert (done.json["outcome"], done.json["reply"], done.json["kept"]) == ("completed", "all good", False)


@pytest.mark.gateway
def test_the_task_from_a_file_with_all_of_creates_options(run: Commands, tmp_path: Path) -> None:
    task = tmp_path / "task.md"
    task.write_text("[[reply: from a file]]")
    options = ("--id", "kept-one", "-p", str(tmp_path), "--group", "g", "-d", "why", "--model", "m", "--env", "A=1")
    done = run("sync-delegate", "-f", str(task), "--cli", "fake", "--permissions", "edit", "--keep", *options)
    assert (done.code, done.out) == (0, "from a file\n")
    record = run.json("inspect", "kept-one")
    told = [record[name] for name in ("path", "group", "description", "model", "permissions")]
    assert told == [str(tmp_path), "g", "why", "m", "edit"]
    run.ok("kill", "kept-one")


@pytest.mark.gateway
def test_it_returns_at_a_question_and_the_session_waits_for_the_answer(run: Commands) -> None:
    done = run("sync-delegate", "[[ask: Which colour?|Red|Blue]][[replytool]]", "--cli", "fake")
    (id,) = ids(run)
    assert (done.code, done.out) == (6, "")
    assert f"dev-sessions respond {id} --question" in done.err
    assert f"then dev-sessions wait {id}" in done.err
    run.ok("respond", id, "--choose", "2")
    assert run.ok("wait", id) == "completed"
    assert run.ok("last-message", id) == "Blue"
    run.ok("kill", id)


def test_it_returns_when_the_subagents_have_ended(run: Commands, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    delegate = run.lab.start("sync-delegate", f"[[agent: cat '{gate}']][[reply: launched]]", "--cli", "fake")
    id = run.lab.until(lambda: next(iter(ids(run)), None), "the session")
    run.lab.until(lambda: run.json("status", id)["background"] == 1, "the subagent")
    assert run.json("status", id)["status"] == "working"
    assert run.json("status", id)["left"] == [{"kind": "agent", "text": f"cat '{gate}'"}]
    assert delegate.poll() is None
    # A message sent meanwhile begins its own turn, which ends at once; a queued one waits until everything has ended.
    assert run.ok("send", id, "[[reply: aside]]") == "started (turn 2)"
    assert run.ok("wait", id, "--turn", "2") == "completed"
    assert run.ok("send", id, "[[reply: after]]", "--queue") == "queued (turn 3)"
    assert run.json("status", id)["queued"] == [3]
    gate.write_text("")
    done = run.lab.finish(delegate)
    assert (done.code, done.out) == (0, "the subagent is over\n")


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_a_command_left_running_is_named_when_the_session_ends(run: Commands, json: tuple[str, ...]) -> None:
    done = run("sync-delegate", "[[bash_bg: exec sleep 600]][[reply: served]]", "--cli", "fake", *json)
    assert done.code == 0
    assert "was ended, and with it these commands that it had left running: exec sleep 600" in done.err
    assert ids(run) == []


def test_settled_waits_for_it_and_prints_the_later_reply(run: Commands, tmp_path: Path) -> None:
    task = f"[[bash_bg: until [ -e '{tmp_path}/go' ]; do sleep 0.05; done]][[reply: started]]"
    delegate = run.lab.start("sync-delegate", task, "--cli", "fake", "--settled")
    id = run.lab.until(lambda: next(iter(ids(run)), None), "the session")
    run.lab.until(lambda: run.json("status", id)["background"] == 1, "the command")
    assert run.ok("wait", id) == "completed"
    (tmp_path / "go").touch()
    done = run.lab.finish(delegate)
    assert (done.code, done.out) == (0, "the background work is over\n")
    assert "ended" not in done.err


def test_an_interrupt_ends_the_subagents(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[agent: exec sleep 600]][[reply: launched]]")
    run.lab.until(lambda: run.json("status", id)["background"] == 1, "the subagent")
    told = {"session": id, "interrupted": [1], "status": "idle", "was": "working", "outcome": "interrupted"}
    assert run.json("interrupt", id) == told
    assert run("wait", id).out == "interrupted\n"
    run.ok("kill", id)


def test_a_failed_turn_keeps_the_session(run: Commands) -> None:
    done = run("sync-delegate", "[[error: no more tokens]]", "--cli", "fake")
    (id,) = ids(run)
    assert (done.code, done.out) == (5, "")
    assert "no more tokens" in done.err
    assert f"{id} is kept" in done.err
    run.ok("kill", id)


def test_an_agent_that_dies_can_be_revived(run: Commands) -> None:
    done = run("sync-delegate", "[[die]]", "--cli", "fake")
    (id,) = ids(run)
    assert done.code == 5
    assert f"dev-sessions revive {id}" in done.err
    run.ok("kill", id)


def test_after_a_timeout_the_agent_goes_on(run: Commands) -> None:
    done = run("sync-delegate", "[[hold: on]][[reply: late]]", "--cli", "fake", "--timeout", "0.2")
    (id,) = ids(run)
    assert done.code == 124
    assert f"{id} goes on: dev-sessions wait {id}" in done.err
    run.release(id, "on")
    assert run.ok("wait", id) == "completed"
    run.ok("kill", id)


def test_a_blocked_report_keeps_the_session(run: Commands) -> None:
    done = run("sync-delegate", f"[[reply: {BLOCKED}]]", "--cli", "fake")
    (id,) = ids(run)
    assert done.code == 0
    assert "BLOCKED" in done.out
    assert f"{id} is blocked, and kept" in done.err
    run.ok("kill", id)


def test_a_template_is_filled_for_the_session(run: Commands) -> None:
    words = ("--template", "task", "--var", "check=make test", "--cli", "fake", "--id", "briefed")
    done = run("sync-delegate", "[[reply: done]]", *words, "--keep")
    assert (done.code, done.out) == (0, "done\n")
    (entry, *_) = run.json("logs", "briefed")
    assert "You are the session briefed" in entry["text"]
    assert "make test" in entry["text"]
    run.ok("kill", "briefed")


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ([], 2, "there is no task"),
        ([" "], 2, "there is no task"),
        (["x", "-f", "y"], 2, "not both"),
        (["-f", "/nonexistent"], 2, "cannot read"),
        (["x", "--var", "a=b"], 2, "--template NAME"),
        (["--template", "task"], 2, "needs a value for task"),
        (["x", "--template", "nope"], 2, "no template called 'nope'"),
        (["x", "--permissions", "none"], 2, "none"),
        (["x", "-p", "/nonexistent"], 2, "/nonexistent"),
        (["x", "--mode", "docker"], 4, "docker"),
    ],
)
def test_an_invalid_call_starts_nothing(run: Commands, words: list[str], code: int, why: str) -> None:
    done = run("sync-delegate", "--cli", "fake", *words)
    assert done.code == code, done
    assert why in done.err
    assert "next: " in done.err
    assert ids(run) == []


@pytest.mark.gateway
def test_ctrl_c_lets_the_agent_go_on_and_prints_how_to_reach_it(run: Commands) -> None:
    with run.following("sync-delegate", "[[hold: on]][[reply: late]]", "--cli", "fake") as process:
        assert any("is working on it" in line for line in process.stderr or ())
        process.send_signal(signal.SIGINT)
        done = run.lab.finish(process)
    (id,) = ids(run)
    assert done.code == 130
    assert f"{id} goes on: dev-sessions wait {id}" in done.err
    run.release(id, "on")
    assert run.ok("wait", id) == "completed"
    assert run.ok("last-message", id) == "late"
    run.ok("kill", id)


def test_ctrl_c_before_the_message_was_sent_prints_how_to_continue(
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sync-delegate", "[[reply: told once]]", "--cli", "fake")

    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Client, "send", pressed)
        done = run(*words)
    (id,) = ids(run)
    assert done.code == 130
    assert f"{id} was started, but may not have its task yet" in done.err
    again = done.err.split("--request-id ")[1].split()[0]
    assert run.ok(*words, "--request-id", again) == "told once"
    assert ids(run) == []


@pytest.mark.gateway
def test_repeated_with_its_request_id_it_continues_with_the_same_session(run: Commands) -> None:
    words = ("sync-delegate", "[[hold: on]][[reply: late]]", "--cli", "fake", "--request-id", "r-1")
    with run.following(*words) as process:
        assert any("is working on it" in line for line in process.stderr or ())
        process.kill()
        process.wait()
    (id,) = ids(run)
    run.release(id, "on")
    done = run(*words, "--keep")
    assert (done.code, done.out) == (0, "late\n")
    assert ids(run) == [id]
    assert [entry["role"] for entry in run.json("logs", id)] == ["user", "assistant"]
    run.ok("kill", id)


@pytest.mark.gateway
def test_handoff_prints_how_to_attach(run: Commands) -> None:
    done = run("handoff", "[[reply: I go on]]", "--var", "goal=a parser", "--cli", "fake")
    (id,) = ids(run)
    assert done.code == 0
    assert f"dev-sessions attach {id}" in done.out
    assert run.ok("wait", id) == "completed"
    assert "a parser" in run.json("logs", id)[0]["text"]
    run.ok("kill", id)
    quiet = run.ok("handoff", "[[reply: x]]", "--cli", "fake", "-q")
    assert ids(run) == [quiet]
    run.ok("kill", quiet)
