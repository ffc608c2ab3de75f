"""A person or tmux changes something around a session: it continues, or reports at once what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from lab import Lab


def pane(lab: Lab, id: str) -> str:
    """The id of the pane in which a session's agent runs."""
    record = json.loads((lab.folder(id) / "record.json").read_text())
    return str(record["backend"]["pane"])


def terminal(lab: Lab, id: str) -> dict[str, str]:
    found: dict[str, str] = lab.run("inspect", id, "--json").json["terminal"]
    return found


def is_fine(lab: Lab, id: str, word: str) -> None:
    """Check that messages arrive, once each, and that a running turn can be ended."""
    assert lab.ok("ask", id, f"[[reply: {word}]]") == word
    lab.ok("send", id, f"[[hold: {word}]]")
    assert lab.ok("interrupt", id) == "interrupted"


def test_a_mode_that_a_person_has_left_open(shared: Lab, talker: str) -> None:
    for mode in ("clock-mode", "copy-mode", "choose-tree", "customize-mode"):
        shared.tmux(mode, "-t", f"=dev-{talker}:")
        assert shared.ok("ask", talker, f"[[reply: {mode} is left]]") == f"{mode} is left"
    shared.ok("send", talker, "[[hold: mode]]")
    shared.tmux("clock-mode", "-t", f"=dev-{talker}:")
    shared.ok("send", talker, "[[reply: queued]]", "--queue")
    assert shared.ok("interrupt", talker) == "interrupted"
    shared.tmux("clock-mode", "-t", f"=dev-{talker}:")
    shared.until(lambda: shared.run("last-message", talker).out == "queued\n", "the queued one is answered")
    is_fine(shared, talker, "no mode is left")  # tmux may have entered it after the queued message


def test_a_claude_that_a_person_has_suspended(shared: Lab, talker: str) -> None:
    pid = shared.pid(talker)
    shared.keys(talker, "C-z")
    shared.until(lambda: is_suspended(pid), "it is suspended")
    assert shared.ok("status", talker) == "idle"
    assert shared.ok("ask", talker, "[[reply: on after Ctrl-Z]]") == "on after Ctrl-Z"
    os.kill(pid, signal.SIGSTOP)  # tmux makes it continue, either at once or soon
    assert shared.ok("ask", talker, "[[reply: on after SIGSTOP]]") == "on after SIGSTOP"
    shared.ok("send", talker, "[[hold: suspended]]")
    shared.keys(talker, "C-z")
    shared.until(lambda: is_suspended(pid), "it is suspended while it works")
    assert shared.ok("interrupt", talker) == "interrupted"
    is_fine(shared, talker, "after all")


def is_suspended(pid: int) -> bool:
    """True if it is stopped, or its terminal is in the mode for a shell."""
    if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
        return True
    stty = ["stty", "-a", "-F", f"/proc/{pid}/fd/0"]
    return " icanon" in subprocess.run(stty, capture_output=True, text=True, check=True).stdout


MOVED = {
    "enter": "chat:newline",
    "meta+enter": "chat:submit",
    "ctrl+s": "chat:undo",
    "ctrl+g": "chat:stash",
    "escape": None,
    "ctrl+q": "chat:cancel",
    "ctrl+e": "chat:externalEditor",
}


def test_keys_that_the_user_has_bound_anew(lab: Lab) -> None:
    def bind(bindings: dict[str, str | None]) -> None:
        path = lab.home / ".claude" / "keybindings.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"bindings": [{"context": "Chat", "bindings": bindings}]}))

    bind(MOVED)
    id = lab.create()
    is_fine(lab, id, "moved")
    lab.keys(id, "-l", "a draft")
    lab.until(lambda: "a draft" in lab.screen(id), "the draft")
    assert lab.ok("ask", id, "[[reply: past a draft]]") == "past a draft"
    lab.until(lambda: "a draft" in lab.screen(id), "the draft is back")
    bind({"enter": "chat:newline"})
    for words in (("send", id, "hi"), ("create",)):
        done = lab.run(*words, "--json")
        assert done.code == 1, done
        assert "chat:submit" in done.json["error"]["message"]
    assert "keybindings.json" in lab.run("doctor").out
    bind(MOVED)
    before = len(lab.model.requests)
    lab.keys(id, "-l", "[[reply: by hand]]")
    submitted = lambda: lab.keys(id, "M-Enter") or len(lab.model.requests) > before  # noqa: E731
    lab.until(submitted, "Claude has read its key bindings again")
    lab.until(lambda: lab.ok("status", id) == "idle", "the end of that turn")
    is_fine(lab, id, "moved again")


def test_a_session_that_a_person_has_renamed_and_moved(lab: Lab) -> None:
    id = lab.create("--id", "moved")
    lab.tmux("new-session", "-d", "-s", "mine", "cat")
    lab.tmux("rename-session", "-t", "=dev-moved", "by hand")
    lab.tmux("new-session", "-d", "-s", "dev-moved", "cat")
    is_fine(lab, id, "renamed")
    assert terminal(lab, id)["session"] == "by hand"
    assert terminal(lab, id)["attach"].endswith(f"attach-session -t {pane(lab, id)}")
    lab.tmux("join-pane", "-d", "-s", pane(lab, id), "-t", "=mine:")
    is_fine(lab, id, "joined")
    assert terminal(lab, id)["session"] == "mine"
    os.kill(lab.pid(id), signal.SIGKILL)
    assert lab.run("wait", id).code == 5
    # The name is in use by now: the next run gets another name, and everything of the person is kept.
    assert "dev-moved-2" in lab.run("revive", "--all").err
    is_fine(lab, id, "revived")
    lab.ok("kill", id)
    assert sorted(lab.tmux("list-sessions", "-F", "#{session_name}").split()) == ["dev-moved", "mine"]
    lab.tmux("kill-server")


def test_a_server_of_its_own_and_one_whose_socket_is_gone(lab: Lab) -> None:
    """Sessions on the user's server and on our own server run side by side, each where it was started."""
    own: dict[str, Any] = {"env": {"DEV_SESSIONS_TMUX": "ours"}}
    here, there = lab.create("--id", "here"), lab.create("--id", "there", "--cli", "fake", **own)
    assert lab.tmux("list-sessions", "-F", "#{session_name}").split() == ["dev-here"]
    for more in ({}, own):
        for id in (here, there):
            assert lab.ok("ask", id, f"[[reply: {id}]]", **more) == id
    assert terminal(lab, there)["socket"].endswith("/ours")
    assert any("/ours" in one["text"] for one in lab.run("doctor", "--json", **own).json["findings"])
    os.unlink(terminal(lab, here)["socket"])
    for words in (("send", here, "hi"), ("create",), ("attach", here)):
        done = lab.run(*words)
        assert done.code == 1, done
        assert "was removed" in done.err
    assert lab.ok("ask", there, "[[reply: untouched]]") == "untouched"
    told = [one for one in lab.run("doctor", "--json").json["findings"] if one["level"] == "problem"]
    remedy = next(one["remedy"] for one in told if one["check"] == "tmux server")
    assert f"kill -USR1 {remedy.split()[2]}" in remedy
    os.kill(int(remedy.split()[2]), signal.SIGUSR1)
    lab.until(lambda: os.path.exists(terminal(lab, here)["socket"]), "the socket is there again")
    assert lab.ok("ask", here, "[[reply: back]]") == "back"
    lab.tmux("kill-server")
    assert lab.ok("status", there) == "idle"
    lab.ok("revive", here)
    assert lab.ok("ask", here, "[[reply: revived]]") == "revived"
