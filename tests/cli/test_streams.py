"""The process itself: its streams, its signals, its exit; each run as a program."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Commands


def shell(run: Commands, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `ds` is the program."""
    ds = f'ds() {{ "{run.lab.argv()[0]}" -m dev_sessions "$@"; }}; '
    done = subprocess.run(
        ["bash", "-c", ds + script],
        env={**run.lab.env, **env},
        cwd=run.lab.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done


def in_terminal(run: Commands, *argv: str, **env: str) -> tuple[int, str]:
    """Exit code and output of a command whose streams are a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        run.lab.argv(*argv),
        env={**run.lab.env, "TERM": "xterm-256color", **env},
        cwd=run.lab.project,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    return process.wait(), shown.decode().replace("\r\n", "\n")


PRINTING = ["list", "list --json", "status ID", "last-message ID", "wait ID", "--version"]


@pytest.mark.gateway
@pytest.mark.parametrize("words", PRINTING)
def test_a_reader_that_closes_the_pipe(run: Commands, idle: str, words: str) -> None:
    done = shell(run, f"ds {words.replace('ID', idle)} | head -0; echo ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.stdout in ("0\n", "141\n")


def test_a_reader_that_closes_the_pipe_during_the_help(run: Commands) -> None:
    assert shell(run, "ds --help | head -1; ds create --help | head -1").stderr == ""


@pytest.mark.gateway
@pytest.mark.parametrize("words", ["list", "status ID", "--version", "create --help", "status nobody"])
def test_closed_streams(run: Commands, idle: str, words: str) -> None:
    words = words.replace("ID", idle)
    assert shell(run, f"ds {words} >&-").returncode in (0, 1, 3)
    assert shell(run, f"ds {words} 2>&-").returncode in (0, 3)
    assert shell(run, f"ds {words} <&-").returncode in (0, 3)


def test_a_full_disk_behind_stdout_is_an_error(run: Commands, idle: str) -> None:
    done = shell(run, f"ds status {idle} >/dev/full")
    assert done.returncode == 1
    assert done.stderr


def test_colour_can_be_disabled(run: Commands, idle: str) -> None:
    for words in (["list"], ["--help"], ["status", "nobody"], ["list", "--nonsense"]):
        assert "\x1b[" not in in_terminal(run, *words, NO_COLOR="1")[1]
        done = run.lab.run(*words, env={"FORCE_COLOR": "", "TERM": "xterm-256color"})
        assert "\x1b[" not in done.out + done.err


def test_a_reply_is_stripped_for_a_terminal_only(run: Commands) -> None:
    id = run.create()
    told = "\x1b]0;title\x07\x1b[31mred\x1b[0m \x9b32mand \x08\x07more\ttab \x9d0;title\x9c\u202ereversed\u2066 \x7fend"
    assert run.ok("ask", id, f"[[reply: {told}]]") == told
    assert in_terminal(run, "last-message", id) == (0, "red and more\ttab reversed end\n")
    assert run.lab.ok("last-message", id) == told
    assert "red and more\ttab reversed end\n" in in_terminal(run, "logs", id)[1]
    # JSON is the same for both: it keeps the text's meaning and contains no control characters.
    for words in (["last-message", id, "--json"], ["logs", id, "--json"], ["events", id]):
        code, shown = in_terminal(run, *words)
        assert (code, [sign for sign in shown if not sign.isprintable()]) == (0, ["\n"] * shown.count("\n"))
        value = json.loads(shown if "--json" in words else f"[{','.join(shown.splitlines())}]")
        assert json.dumps(told)[1:-1] in json.dumps(value)
    run.ok("kill", id)


def test_notes_and_descriptions_cannot_steer_a_terminal(run: Commands) -> None:
    id = run.create("--description", "a\x1b[31mb\x1b]0;t\x07c\nd")
    code, shown = in_terminal(run, "list")
    assert code == 0
    assert "\x1b" not in shown
    assert "abc d" in shown
    run.ok("send", id, "[[error: \x1b[2Jboom]]")
    code, shown = in_terminal(run, "wait", id)
    assert code == 5
    assert "\x1b" not in shown
    assert "boom" in shown
    run.ok("kill", id)


@pytest.fixture(scope="module")
def broken(run: Commands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A lab with the session `broken`, whose agent reports nonsense, which causes an unexpected error."""
    state = tmp_path_factory.mktemp("broken")
    env = {"DEV_SESSIONS_HOME": str(state)}
    run.create("--id", "broken", env=env)
    (fact,) = state.glob("sessions/*/facts/*")
    before = fact.read_bytes()
    fact.write_text("nonsense")
    yield env
    fact.write_bytes(before)
    run.ok("kill", "broken", env=env)


def test_an_unexpected_error_has_no_traceback(run: Commands, broken: dict[str, str]) -> None:
    for words in (["status", "broken"], ["wait", "broken"], ["send", "broken", "x"]):
        done = run.lab.run(*words, env=broken)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: unexpected ")
        assert "DEV_SESSIONS_DEBUG=1" in done.err.splitlines()[-1]
        assert "Traceback" not in done.err
        done = run.lab.run(*words, "--json", env=broken)
        assert (done.code, done.err) == (1, "")
        assert done.json["error"]["code"] == "error"


def test_debug_shows_the_traceback(run: Commands, broken: dict[str, str]) -> None:
    done = run.lab.run("status", "broken", env={**broken, "DEV_SESSIONS_DEBUG": "1"})
    assert done.code == 1
    assert "Traceback" in done.err


def test_a_home_that_cannot_be_entered(run: Commands, tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("")
    done = run.lab.run("create", "--cli", "fake", env={"HOME": str(home), "DEV_SESSIONS_HOME": ""})
    assert (done.code, done.out) == (1, "")
    assert str(home) in done.err
    assert done.err.splitlines()[-1].startswith("next: ")
    assert "Traceback" not in done.err


@pytest.mark.gateway
def test_a_message_that_is_not_utf_8(run: Commands, idle: str) -> None:
    done = shell(run, f"ds send {idle} $'\\xff\\xfe'")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("next: ")
    done = shell(run, "ds create --cli fake -d $'\\xff' --json")
    assert done.returncode in (0, 2)
    value = json.loads(done.stdout)
    if done.returncode == 0:
        run.ok("kill", value["id"])


LOCALES = (
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},  # Python is asked to read ASCII
    {"LANG": ""},
)


@pytest.mark.gateway
@pytest.mark.parametrize("locale", LOCALES, ids=lambda one: "-".join(one))
def test_everything_is_utf_8_in_any_locale(run: Commands, tmp_path: Path, locale: dict[str, str]) -> None:
    """Words, standard input, folders, what is queued; the agent's own characters too."""
    words, folder = "größer \U0001f600", tmp_path / "größer \U0001f600"
    folder.mkdir()
    id = run.create("--description", words, "--path", str(folder), env=locale)
    assert words in run.lab.ok("list", env={**locale, "PYTHONIOENCODING": "latin-1"})
    assert run.lab.ok("ask", id, f"[[reply: {words}]]", env=locale) == words
    run.lab.ok("send", id, "-f", "-", stdin="[[bash: locale charmap; pwd]][[replytool]]", env=locale)
    assert run.lab.ok("wait", id, env=locale) == "completed"
    assert run.lab.ok("last-message", id, env=locale) == f"UTF-8\n{folder}"
    run.lab.ok("send", id, "[[hold: a]]", env=locale)
    run.lab.ok("send", id, f"[[reply: queued {words}]]", "--queue", env=locale)
    (run.lab.folder(id) / "agent" / "release" / "a").touch()
    assert run.lab.ok("wait", id, env=locale) == "completed"
    assert run.lab.ok("last-message", id, env=locale) == f"queued {words}"
    run.ok("kill", id)


def test_the_courier_outlives_the_command_and_leaves_no_output(run: Commands) -> None:
    """The courier must not keep a caller waiting that reads our output to its end."""
    id = run.create()
    run.ok("send", id, "[[hold: a]]")
    done = shell(run, f"ds send {id} '[[reply: queued]]' --queue 2>&1 | cat")
    assert done.stdout == "queued (turn 2)\n"
    run.release(id)
    run.ok("wait", id)
    assert run.ok("last-message", id) == "queued"
    run.ok("kill", id)
