"""What a revived Claude gets of its earlier life: the environment out of the start script, the conversation."""

from __future__ import annotations

import os
import subprocess

import pytest

from dev_sessions.backends.base import Launch, Session
from dev_sessions.backends.claude import launch as starting
from dev_sessions.backends.claude import transcript
from dev_sessions.state.folder import Folder

VALUES = {
    "PLAIN": "word",
    "EMPTY": "",
    "QUOTES": 'it\'s "quoted" `here` $HOME \\ #no comment',
    "LINES": "one\n\nexport TWO=2\nthree\n",
    "SPACES": "  lead and trail  ",
    "BYTES": os.fsdecode(b"caf\xe9 \xff"),
    "UNICODE": "äöü \U0001f600",
}


@pytest.fixture
def session(tmp_path):
    folder = Folder(str(tmp_path / "it's a folder"))
    folder.make()
    return Session({"id": "a", "key": "a-1", "backend": {}}, folder, {"PATH": os.defpath})


def launch(session, environment, path="/"):
    return Launch(session, path, "full", None, environment, True, 9.0, print, lambda private: None, lambda names: None)


@pytest.mark.parametrize("path", ["/", "/export", "/a b/export A=1"])
def test_the_environment_is_restored_exactly(session, path):
    starting.write_script(launch(session, VALUES, path), "/bin/claude", ("--session-id", "u"), False)
    kept = starting.kept_environment(session)
    assert {name: kept[name] for name in VALUES} == VALUES
    assert "A" not in kept
    # Once more, from what was kept: nothing grows, nothing is lost.
    starting.write_script(launch(session, kept, path), "/bin/claude", ("--resume", "u"), False)
    assert starting.kept_environment(session) == kept


def test_an_agent_does_not_start_if_a_link_has_replaced_the_folder(session, tmp_path):
    """The link is planted after the path was checked, which is after the script was written at the latest."""
    other, checked = tmp_path / "other", tmp_path / "it's\nlike \\ that" / "work"
    for folder in (other / "work", checked):
        folder.mkdir(parents=True)
    script = starting.write_script(launch(session, {"PATH": os.defpath}, str(checked)), "/bin/pwd", (), False)
    # Only the program, since pwd does not have Claude's options.
    with open(script, encoding="utf-8") as file:
        lines = file.read().replace("exec /bin/pwd ", "exec /bin/pwd -P # ")
    with open(script, "w", encoding="utf-8") as file:
        file.write(lines)
    done = subprocess.run(["/bin/sh", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{checked}\n")
    checked.parent.rename(tmp_path / "away")
    checked.parent.symlink_to(other)
    done = subprocess.run(["/bin/sh", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "leads elsewhere" in done.stderr


@pytest.mark.parametrize("content", [None, b"", b"export A='no end", b"umask 0022\n"])
def test_a_lost_or_damaged_script_gives_no_environment(session, content):
    if content is not None:
        with open(os.path.join(session.folder.agent_path, "start.sh"), "wb") as file:
            file.write(content)
    assert starting.kept_environment(session) is None


def test_the_program_is_the_former_one_unless_the_caller_names_one(session, tmp_path):
    programs = []
    for name in ("before", "named", "claude"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
        programs.append(str(tmp_path / name))
    before, named, found = programs
    environ = {"PATH": str(tmp_path)}
    dead = session.replace(record={**session.record, "backend": {"program": before}}, environ=environ)
    assert starting.program_again(dead) == before
    assert starting.program_again(dead.replace(environ={**environ, "DEV_SESSIONS_CLAUDE": named})) == named
    os.unlink(before)  # its release has been removed
    assert starting.program_again(dead) == found


@pytest.mark.parametrize(
    ("lines", "begun"),
    [
        ([], False),
        (['{"type":"file-history-snapshot"}', '{"type":"mode","mode":"user"}'], False),
        (['{"type":"user","isSidechain":true}'], False),
        (['{"type":"user","message":{"content":"hi"}}'], True),
        (['{"type":"assistant"}', '{"type":"system"}', '{"type":"user","mess'], True),
    ],
)
def test_a_conversation_has_begun_with_its_first_message(tmp_path, lines, begun):
    path = tmp_path / "transcript.jsonl"
    assert not transcript.has_begun(str(path))
    path.write_text("\n".join([*lines, ""]) if lines[-1:] != ['{"type":"user","mess'] else "\n".join(lines))
    assert transcript.has_begun(str(path)) == begun
