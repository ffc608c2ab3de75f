"""Which Claude Code it is: asked once, remembered for as long as the file stays the same, and refused if too old."""

from __future__ import annotations

import json
import os
import select

import pytest

from dev_sessions.backends.base import Session
from dev_sessions.backends.claude import limits, version
from dev_sessions.errors import LaunchFailed, Unsupported
from dev_sessions.state.folder import Folder


@pytest.fixture
def environment(tmp_path):
    return {"PATH": os.environ["PATH"], "DEV_SESSIONS_HOME": str(tmp_path / "state")}


@pytest.fixture
def claude(tmp_path):
    """Makes a program that counts how often it is asked, and answers so."""

    def make(answer, name="claude", code=0):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\ncat <<'END'\n{answer}\nEND\nexit {code}\n")
        path.chmod(0o755)
        return str(path)

    return make


def asked(tmp_path):
    file = tmp_path / "asked"
    return len(file.read_text().splitlines()) if file.exists() else 0


def supported(text):
    return f"{text} (Claude Code)"


def test_the_program_is_asked_once(claude, environment, tmp_path):
    program = claude(supported(version.NEWEST))
    for _ in range(3):
        version.refuse_unsupported(program, environment)
        assert version.known(program, environment) == version.NEWEST
    assert asked(tmp_path) == 1


def test_a_changed_program_is_asked_again(claude, environment, tmp_path):
    program = claude(supported("2.1.221"))
    version.refuse_unsupported(program, environment)
    claude(supported("2.1.2210"))
    assert version.known(program, environment) is None
    version.refuse_unsupported(program, environment)
    assert version.known(program, environment) == "2.1.2210"
    assert asked(tmp_path) == 2


def test_links_to_one_program_share_the_answer(claude, environment, tmp_path):
    program = claude(supported("2.1.221"))
    (tmp_path / "link").symlink_to(program)
    version.refuse_unsupported(str(tmp_path / "link"), environment)
    version.refuse_unsupported(program, environment)
    assert asked(tmp_path) == 1


def test_an_option_that_needs_a_newer_one_is_refused_with_its_number(claude, environment):
    with pytest.raises(Unsupported) as caught:
        version.refuse_without(claude(supported("2.1.221")), environment, limits.SINCE, "continue_at_reset")
    assert f"--continue-at-reset needs {limits.SINCE}" in caught.value.message
    assert (caught.value.data["capability"], "omit" in caught.value.data["next"]) == ("continue_at_reset", True)
    for answer in (limits.SINCE, version.NEWEST, "a wrapper of my own"):
        version.refuse_without(claude(supported(answer), answer[:6]), environment, limits.SINCE, "continue_at_reset")


@pytest.mark.parametrize("old", ["2.0.14", "2.1.20", "2.1.77", "2.1.220", "1.9.999"])
def test_a_version_that_is_too_old_is_refused_with_the_range(claude, environment, old):
    program = claude(supported(old))
    for _ in range(2):
        with pytest.raises(LaunchFailed) as caught:
            version.refuse_unsupported(program, environment)
        assert all(word in caught.value.message for word in (program, old, version.OLDEST, version.NEWEST))
        assert "DEV_SESSIONS_CLAUDE" in caught.value.data["next"]


def test_nothing_is_refused_by_memory(claude, environment, tmp_path):
    # A wrapper stays the same file while what it runs is updated.
    (tmp_path / "answer").write_text(supported("2.1.77"))
    program = claude("").replace("claude", "wrapper")
    with open(program, "w") as file:
        file.write(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    os.chmod(program, 0o755)
    with pytest.raises(LaunchFailed):
        version.refuse_unsupported(program, environment)
    (tmp_path / "answer").write_text(supported("2.1.223"))
    version.refuse_unsupported(program, environment)
    assert version.known(program, environment) == "2.1.223"


@pytest.mark.parametrize(
    "fine", [version.OLDEST, version.NEWEST, "2.1.331", "2.2.0", "3.0.0", "10.0.0", "2.1.400-beta.1"]
)
def test_supported_and_newer_versions_are_not_refused(claude, environment, fine):
    version.refuse_unsupported(claude(supported(fine)), environment)


@pytest.mark.parametrize(
    "answer", ["", "2.1.20", "tool 2.1.20", "v2 (Claude Code)", "error: \udcff".encode("utf-8", "ignore").decode()]
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_program_without_a_version_is_not_refused(claude, environment, tmp_path, answer, code):
    program = claude(answer, code=code)
    version.refuse_unsupported(program, environment)
    assert version.known(program, environment) is None
    version.refuse_unsupported(program, environment)
    assert asked(tmp_path) == 2


def test_a_program_that_cannot_be_run_is_not_refused_here(environment, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    version.refuse_unsupported(str(broken), environment)
    version.refuse_unsupported(str(tmp_path / "gone"), environment)


def test_a_program_that_never_answers_is_ended_with_its_children(environment, tmp_path):
    os.mkfifo(tmp_path / "lives")
    reader = os.open(tmp_path / "lives", os.O_RDONLY | os.O_NONBLOCK)
    program = tmp_path / "claude"
    program.write_text(f"#!/bin/sh\nexec 9>{tmp_path}/lives\necho >&9\nsleep 600 &\nwait\n")
    program.chmod(0o755)
    try:
        assert version.ask(str(program), environment, seconds=1.0) is None
        assert os.read(reader, 9) == b"\n"
        # The end of the file comes when the last of them is gone.
        assert select.select([reader], [], [], 60)[0]
        assert os.read(reader, 9) == b""
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"PROGRAM": 5}', b'{"PROGRAM": {"mark": MARK, "version": 5}}']
)
def test_after_damage_the_program_is_asked_again(claude, environment, tmp_path, content):
    program = claude(supported("2.1.221"))
    version.refuse_unsupported(program, environment)
    memory = tmp_path / "state" / "claude-versions.json"
    mark = json.dumps(json.loads(memory.read_text())[program]["mark"]).encode()
    memory.write_bytes(content.replace(b"PROGRAM", program.encode()).replace(b"MARK", mark))
    assert version.known(program, environment) is None
    version.refuse_unsupported(program, environment)
    assert version.known(program, environment) == "2.1.221"
    assert asked(tmp_path) == 2


def test_a_folder_that_cannot_be_written_does_no_harm(claude, environment, tmp_path):
    (tmp_path / "state").write_text("a file")
    version.refuse_unsupported(claude(supported("2.1.221")), environment)
    with pytest.raises(LaunchFailed):
        version.refuse_unsupported(claude(supported("2.1.20")), environment)


def test_programs_that_are_gone_are_forgotten(claude, environment, tmp_path):
    old, new = claude(supported("2.1.221"), "old"), claude(supported("2.1.222"), "new")
    version.refuse_unsupported(old, environment)
    os.unlink(old)
    version.refuse_unsupported(new, environment)
    assert list(json.loads((tmp_path / "state" / "claude-versions.json").read_text())) == [new]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (version.NEWEST, f"Claude Code {version.NEWEST}"),
        ("9.8.7", f"Claude Code 9.8.7 (newer than {version.NEWEST}, the last one tested)"),
        ("2.1.400-beta", "Claude Code 2.1.400-beta"),
        (None, "Claude Code of an unknown version"),
    ],
)
def test_the_name_in_an_error(tmp_path, told, words):
    session = Session({"id": "fizz-top", "backend": {"version": told}}, Folder(str(tmp_path)), {})
    assert version.name(session) == words
