"""The environment of the commands: the state folder, the umask, gateway variables, a missing tmux."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev_sessions import config

if TYPE_CHECKING:
    from conftest import Commands

READS = (["list"], ["status", "a"], ["wait", "a"], ["last-message", "a"])


# Gateway mode.


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, False),
        ({"IS_SANDBOX": "1"}, False),
        ({"IS_SANDBOX": "1", "DEV_SESSIONS_SANDBOX": ""}, False),
        ({"HOST_PATH": "/host"}, False),
        ({"DEV_SESSIONS_GATEWAY_URL": "http://localhost:1"}, False),
        ({"DEV_SESSIONS_SANDBOX": "1"}, True),
        ({"DEV_SESSIONS_SANDBOX": "true"}, True),
        ({"IS_SANDBOX": "1", "HOST_PATH": "/host"}, True),
        ({"IS_SANDBOX": "1", "DEV_SESSIONS_GATEWAY_URL": "http://localhost:1"}, True),
        ({"IS_SANDBOX": "1", "HOST_PATH": "/host", "DEV_SESSIONS_SANDBOX": "0"}, False),
        ({"IS_SANDBOX": "0", "HOST_PATH": "/host"}, False),
    ],
)
def test_variables_select_gateway_mode(run: Commands, env: dict[str, str], wanted: bool) -> None:
    assert config.gateway_wanted(env) is wanted
    if not wanted:
        assert run("list", "--json", env={"IS_SANDBOX": "", **env}).json == []


def test_a_missing_gateway_is_255_with_the_command_for_the_host(run: Commands, tmp_path: Path) -> None:
    for url, command in (
        (f"unix://{tmp_path}/none", "dev-sessions gateway --socket"),
        ("http://127.0.0.1:1", "dev-sessions gateway --port 1"),
    ):
        env = {"DEV_SESSIONS_SANDBOX": "1", "DEV_SESSIONS_GATEWAY_URL": url, "HOST_PATH": str(run.lab.project)}
        env["CONTAINER_WORKSPACE"] = str(run.lab.project)
        error = run("list", "--json", env=env).json["error"]
        assert (error["code"], error["data"]["url"]) == ("unreachable", url)
        shown = run("create", "--cli", "fake", env=env)
        assert (shown.code, shown.out) == (255, "")
        assert url in shown.err
        assert f"next: on the host: {command}" in shown.err


# tmux


def test_without_tmux(run: Commands, tmp_path: Path) -> None:
    done = run("create", "--cli", "fake", env={"PATH": str(tmp_path), "IS_SANDBOX": ""})
    assert (done.code, done.out) == (1, "")
    assert "tmux is not installed" in done.err
    assert done.err.splitlines()[-1].startswith("next: install tmux")
    assert "DEV_SESSIONS" not in done.err
    assert run.json("list") == []


def test_without_tmux_in_a_sandbox_the_gateway_variables_are_named(run: Commands, tmp_path: Path) -> None:
    done = run("create", "--cli", "fake", env={"PATH": str(tmp_path), "IS_SANDBOX": "1"})
    assert (done.code, done.out) == (1, "")
    for word in ("tmux", "DEV_SESSIONS_SANDBOX", "DEV_SESSIONS_GATEWAY_URL"):
        assert word in done.err


def test_reads_need_no_tmux(run: Commands, tmp_path: Path) -> None:
    id = run.create()
    run.ok("ask", id, "[[reply: hello]]")
    env = {"PATH": str(tmp_path)}
    assert run("status", id, env=env) == (0, "idle\n", "")
    assert run("wait", id, env=env) == (0, "completed\n", "")
    assert run("last-message", id, env=env) == (0, "hello\n", "")
    assert run("list", env=env).code == 0
    run.ok("kill", id)


# The state folder.


def test_reads_on_a_fresh_machine_create_nothing(run: Commands, tmp_path: Path) -> None:
    state = tmp_path / "none"
    env = {"DEV_SESSIONS_HOME": str(state)}
    for words in READS:
        assert run(*words, env=env).code == (0 if words == ["list"] else 3)
    assert not state.exists()


def test_the_state_folder_is_below_home_unless_named(run: Commands, tmp_path: Path) -> None:
    env = {"DEV_SESSIONS_HOME": "", "HOME": str(tmp_path)}
    id = run.create(env=env)
    assert (tmp_path / ".dev-sessions" / "sessions.json").exists()
    assert run("status", id).code == 3
    assert run.ok("kill", id, env=env)


def test_a_state_folder_with_an_odd_path(run: Commands, tmp_path: Path) -> None:
    env = {"DEV_SESSIONS_HOME": str(tmp_path / 'it\'s a "state" ünï $HOME folder')}
    id = run.create(env=env)
    assert run.ok("ask", id, "[[reply: hello]]", env=env) == "hello"
    run.ok("send", id, "[[hold: a]]", env=env)
    run.ok("send", id, "[[reply: queued]]", "--queue", env=env)
    next(Path(env["DEV_SESSIONS_HOME"]).glob("sessions/*/agent/release")).joinpath("a").touch()
    assert run.ok("wait", id, env=env) == "completed"
    assert run.ok("last-message", id, env=env) == "queued"
    run.ok("kill", id, env=env)


def test_a_state_folder_by_tilde_and_relative(run: Commands) -> None:
    for named, path in (("~/by-tilde", run.lab.home / "by-tilde"), ("relative", run.lab.project / "relative")):
        id = run.create(env={"DEV_SESSIONS_HOME": named})
        assert (path / "sessions.json").exists()
        run.ok("kill", id, env={"DEV_SESSIONS_HOME": str(path)})


@pytest.mark.parametrize("umask", [0o777, 0o000, 0o022])
def test_files_are_private_under_any_umask(run: Commands, tmp_path: Path, umask: int) -> None:
    state = tmp_path / "state"
    env = {"DEV_SESSIONS_HOME": str(state)}
    id = run.lab.ok("create", "--cli", "fake", "-q", env=env, umask=umask)
    run.lab.ok("send", id, "[[hold: a]]", env=env, umask=umask)
    run.lab.ok("send", id, "[[reply: queued]]", "--queue", env=env, umask=umask)
    next(state.glob("sessions/*/agent/release")).joinpath("a").touch()
    run.lab.ok("wait", id, env=env, umask=umask)
    run.lab.until(lambda: not list(state.glob("sessions/*/courier.json")), "the courier is done")
    for moment in ("alive", "archived"):
        for path in [state, *state.rglob("*")]:
            if not path.is_symlink() and "agent/" not in str(path.relative_to(state)):
                wanted = 0o700 if path.is_dir() else 0o600
                assert stat.S_IMODE(path.stat().st_mode) == wanted, (moment, path)
        if moment == "alive":
            run.lab.ok("kill", id, env=env, umask=umask)


@pytest.fixture(scope="module")
def kept(run: Commands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], bytes]]:
    """A state folder with the session `kept` in it, to be damaged, and its sound registry."""
    env = {"DEV_SESSIONS_HOME": str(tmp_path_factory.mktemp("kept"))}
    run.create("--id", "kept", env=env)
    registry = Path(env["DEV_SESSIONS_HOME"], "sessions.json")
    sound = registry.read_bytes()
    yield env, sound
    registry.write_bytes(sound)
    run.ok("kill", "kept", env=env)


@pytest.fixture
def damaged(kept: tuple[dict[str, str], bytes]) -> dict[str, str]:
    env, sound = kept
    Path(env["DEV_SESSIONS_HOME"], "sessions.json").write_bytes(sound)
    for aside in Path(env["DEV_SESSIONS_HOME"]).glob("sessions.json.damaged-*"):
        aside.unlink()
    return env


DAMAGE = {
    "garbage": b"\x00\xff not json",
    "empty": b"",
    "cut": b'{"format": 1, "sessions": {"kept": {"id": "ah',
    "list": b"[]",
    "null": b"null",
    "no format": b'{"sessions": {}}',
    "odd format": b'{"format": "one", "sessions": {}}',
    "odd sessions": b'{"format": 1, "sessions": []}',
    "odd record": b'{"format": 1, "sessions": {"kept": 7}}',
    "poor record": b'{"format": 1, "sessions": {"kept": {"id": "kept", "key": "x"}}}',
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_registry_is_set_aside_and_rebuilt(run: Commands, damaged: dict[str, str], content: bytes) -> None:
    registry = Path(damaged["DEV_SESSIONS_HOME"], "sessions.json")
    registry.write_bytes(content)
    done = run("list", env=damaged)
    assert done.code == 0
    assert "kept" in done.out
    assert "damaged" in done.err
    assert registry.read_bytes() == content  # a reader writes nothing
    assert run("status", "kept", env=damaged)[:2] == (0, "idle\n")
    done = run("create", "--cli", "fake", "--id", "lux-sup", env=damaged)
    assert done[:2] == (0, "Created session lux-sup\n")
    assert "kept as" in done.err
    (aside,) = registry.parent.glob("sessions.json.damaged-*")
    assert aside.read_bytes() == content
    assert set(json.loads(registry.read_text())["sessions"]) == {"kept", "lux-sup"}
    assert run("kill", "lux-sup", env=damaged).err == ""


def test_a_newer_registry_is_refused_not_touched(run: Commands, damaged: dict[str, str]) -> None:
    registry = Path(damaged["DEV_SESSIONS_HOME"], "sessions.json")
    newer = b'{"format": 99, "sessions": {}, "more": 1}'
    registry.write_bytes(newer)
    for words in (*READS, ["create", "--cli", "fake"], ["kill", "kept"]):
        done = run(*words, env=damaged)
        assert (done.code, done.out) == (1, "")
        assert "99" in done.err
        assert "upgrade" in done.err.splitlines()[-1]
    assert registry.read_bytes() == newer
    assert not list(registry.parent.glob("*.damaged-*"))


def test_an_invalid_state_folder(run: Commands, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    for home in (blocker, blocker / "below", Path("/proc/none")):
        done = run("create", "--cli", "fake", env={"DEV_SESSIONS_HOME": str(home)})
        assert (done.code, done.out) == (1, ""), home
        assert str(home) in done.err or str(blocker) in done.err
        assert "DEV_SESSIONS_HOME" in done.err.splitlines()[-1]
        assert "unexpected" not in done.err


# Root may read and write whatever its permissions are, but for these two rights (CAP_DAC_OVERRIDE, _READ_SEARCH); an
# ordinary user has none to drop, and the calls fail without harm.
ORDINARY = """
import ctypes, os, sys
for right in (1, 2) if sys.platform == "linux" else ():
    ctypes.CDLL(None).prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_state_folder_that_may_not_be_read_or_written(run: Commands, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "sessions.json").write_text('{"format": 1, "sessions": {}}')
    (state / "sessions.json").chmod(0o000)
    env = {**run.lab.env, "DEV_SESSIONS_HOME": str(state)}

    def refused(*words: str) -> str:
        argv = [sys.executable, "-c", ORDINARY, *run.lab.argv(*words)]
        done = subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert str(state) in done.stderr
        assert "Traceback" not in done.stderr
        assert "unexpected" not in done.stderr
        return done.stderr.splitlines()[-1]

    assert "readable" in refused("list")
    (state / "sessions.json").chmod(0o600)
    state.chmod(0o500)
    assert "DEV_SESSIONS_HOME" in refused("create", "--cli", "fake", "-p", "/tmp")
    state.chmod(0o700)
    assert sorted(path.name for path in state.iterdir()) == ["sessions.json"]


def test_a_working_folder_that_is_gone(run: Commands, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    argv = ["/bin/sh", "-c", script, "sh", str(gone), *run.lab.argv("list")]
    done = subprocess.run(argv, env=run.lab.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("next: ")
    assert "Traceback" not in done.stderr


def test_a_session_folder_that_was_removed(run: Commands) -> None:
    id = run.lab.create("--cli", "fake")
    shutil.rmtree(run.lab.folder(id))
    done = run("status", id)
    assert (done.code, done.out) == (0, "exited\n")
    assert run("kill", id)[:2] == (0, f"Killed session {id}\n")
    assert id not in run.ok("list")
