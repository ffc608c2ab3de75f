"""`create` under hostile conditions: dialogs, folders, environments, tmux configurations, programs that fail."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lab import KEY, Done, Lab
from soak import only_in_soak, size

TRUSTED = "accepted Claude's trust dialog"


@pytest.fixture(scope="module")
def shared(claude: str) -> Iterator[Lab]:
    """One lab for tests that do not affect each other."""
    with Lab(claude, "create") as made:
        yield made


def environment(lab: Lab, id: str) -> dict[str, str]:
    """The environment with which the agent's program was started."""
    content = Path(f"/proc/{lab.pid(id)}/environ").read_bytes().decode("utf-8", "surrogateescape")
    return dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)


def agents(lab: Lab, claude: str) -> list[int]:
    """Pids of all real claudes that run in a lab, except their forks that are about to execute another program."""
    parents = {}
    for pid in lab.processes():
        try:
            if os.path.samefile(f"/proc/{pid}/exe", claude):
                parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return [pid for pid, parent in parents.items() if parent not in parents]


def listed(lab: Lab) -> dict[str, str]:
    """The result of `list`: id -> status."""
    return {row["id"]: row["status"] for row in json.loads(lab.ok("list", "--json"))}


def said(lab: Lab, id: str) -> list[str]:
    """The prompts in the transcript, which Claude writes some time after the end of a turn."""
    found: list[str] = lab.until(lambda: lab.prompts(id), "the transcript")
    return found


def leftovers(lab: Lab) -> list[str]:
    """Everything that a failed create must not leave: processes, tmux sessions, records, folders."""
    found = [f"process {pid}" for pid in lab.processes()]
    found += lab.tmux("list-sessions", "-F", "#{session_name}").split()
    found += list(listed(lab))
    return found + [path.name for path in lab.state.glob("sessions/*")]


def refused(done: Done, code: int, *words: str) -> None:
    """Check for a clear error: this exit code, these words, a next command, and no traceback."""
    assert done.code == code, done
    assert done.err.startswith("error: "), done
    assert "next: " in done.err, done
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
    for word in words:
        assert word in done.err, (word, done.err)


def script(path: Path, *lines: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


# Dialogs.


def unknown_key(lab: Lab) -> None:
    """Make Claude ask about the API key, in a dialog that has no right answer."""
    path = lab.home / ".claude.json"
    first_run = json.loads(path.read_text())
    del first_run["customApiKeyResponses"]
    path.write_text(json.dumps(first_run))


def test_unknown_dialog_is_left_to_a_person(lab: Lab) -> None:
    unknown_key(lab)
    done = lab.run("create", "--id", "asked")
    refused(done, 6, "Detected a custom API key", KEY[-20:], "attach asked", "respond asked --key")
    assert done.out == ""
    state = json.loads(lab.ok("status", "asked", "--json"))
    assert state["status"] == "waiting_for_input"
    assert state["question"]["kind"] == "dialog"
    assert "Detected a custom API key" in state["question"]["text"]
    assert listed(lab) == {"asked": "waiting_for_input"}
    refused(lab.run("send", "asked", "hello"), 6, "asked")
    waited = lab.run("wait", "asked")
    assert (waited.code, waited.out) == (6, "waiting_for_input\n")
    # The answer suggested by the error works, and nothing of the refused message appears.
    assert "❯ Yes" in lab.ok("respond", "asked", "--key", "Up")
    lab.ok("respond", "asked", "--key", "Enter")
    lab.until(lambda: lab.ok("status", "asked") == "idle", "idle after the answer")
    assert lab.ok("ask", "asked", "[[reply: At last.]]") == "At last."
    assert said(lab, "asked") == ["[[reply: At last.]]"]
    assert json.loads(lab.ok("status", "asked", "--json"))["question"] is None
    lab.ok("kill", "asked")
    assert leftovers(lab) == []


def mcp_server(lab: Lab) -> None:
    # Claude stores the answer at the root of the repository, which must not be our checkout.
    subprocess.run(["git", "init", "-q", str(lab.project)], check=True)
    # A server that records its start: if it is declined, it must not be started.
    started = shlex.quote(str(lab.path / "mcp-started"))
    servers = {"demo": {"command": "/bin/sh", "args": ["-c", f"touch {started}; cat"]}}
    (lab.project / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))


def external_import(lab: Lab) -> None:
    outside = lab.path / "outside"
    outside.mkdir()
    (outside / "rules.md").write_text("# Rules from outside\n")
    (lab.project / "CLAUDE.md").write_text(f"# Project\n\n@{outside / 'rules.md'}\n")


@pytest.mark.parametrize(
    ("trusted", "obstacles", "told"),
    [
        pytest.param(True, [mcp_server], ["MCP servers"], marks=only_in_soak, id="mcp"),
        pytest.param(True, [external_import], ["imports of CLAUDE.md"], marks=only_in_soak, id="import"),
        pytest.param(False, [mcp_server, external_import], [TRUSTED, "MCP servers", "imports of CLAUDE.md"], id="all"),
    ],
)
def test_dialogs_of_a_project_are_answered_and_told_exactly_once(
    lab: Lab, trusted: bool, obstacles: list[Callable[[Lab], None]], told: list[str]
) -> None:
    lab.trust(*[lab.project] if trusted else [])
    for obstacle in obstacles:
        obstacle(lab)
    done = lab.run("create", "-q")
    assert done.code == 0, done
    assert [done.err.count(words) for words in told] == [1] * len(told), done.err
    assert str(lab.project) in done.err
    id = done.out.strip()
    assert lab.ok("ask", id, "[[reply: Through.]]") == "Through."
    assert not (lab.path / "mcp-started").exists()
    if mcp_server in obstacles:
        # Claude does not ask again: to enable the server later, the user must know where the answer is stored.
        kept = json.loads((lab.project / ".claude" / "settings.local.json").read_text())
        assert kept == {"disabledMcpjsonServers": ["demo"]}
        assert "settings.local.json" in done.err
    assert lab.run("create", "--id", "again")[1:] == ("Created session again\n", "")
    lab.ok("kill", id, "again")


# Root.


@pytest.mark.parametrize(
    "word", [pytest.param("1", marks=only_in_soak), "yes", pytest.param("true", marks=only_in_soak)]
)
def test_full_permissions_in_a_sandbox(lab: Lab, word: str) -> None:
    """Also as root; Claude itself allows that only with the value "1"."""
    lab.env["IS_SANDBOX"] = word
    id = lab.create()
    assert lab.ok("ask", id, "[[bash: touch made]][[reply: Done.]]") == "Done."
    assert (lab.project / "made").exists()


@pytest.mark.parametrize("word", [None, "", "0", "no"])
def test_full_permissions_as_root_outside_of_a_sandbox(lab: Lab, word: str | None) -> None:
    del lab.env["IS_SANDBOX"]
    if word is not None:
        lab.env["IS_SANDBOX"] = word
    done = lab.run("create", "-q")
    if os.geteuid() != 0:
        assert done.code == 0, done
        return
    refused(done, 1, "root", "IS_SANDBOX=1", "--permissions edit")
    assert leftovers(lab) == []
    if word is None:
        # Both remedies in the error work.
        lab.ok("kill", lab.create("--permissions", "edit"))
        lab.ok("kill", lab.create("--env", "IS_SANDBOX=1"))


# The environment.


INHERITED = {
    "CLAUDECODE": "1",
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_CODE_SESSION_ID": "00000000-0000-4000-8000-000000000000",
    "CLAUDE_CODE_SSE_PORT": "12345",
    "CLAUDE_CODE_CHILD_SESSION": "1",
    "CLAUDE_PROJECT_DIR": "/nowhere",
    "CLAUDE_ENV_FILE": "/nowhere/env",
    "CLAUDE_PID": "1",
    "CLAUDE_CODE_SANDBOXED": "1",
    "AI_AGENT": "claude-code",
    "CODEX_SANDBOX": "seatbelt",
    "CODEX_SANDBOX_NETWORK_DISABLED": "1",
    "CODEX_THREAD_ID": "t",
    "CODEX_CI": "1",
    "DEV_SESSIONS_ID": "fizz-top",
    "DEV_SESSIONS_KEY": "fizz-top-01234567",
    "DEV_SESSIONS_DEPTH": "2",
    "KEPT": "yes",
}
GIVEN = {
    "SPACES": "a  b ",
    "QUOTES": 'it\'s "quoted" `x` $HOME $(id) \\',
    "LINES_": "one\ntwo\n",
    "EQUALS": "a=b=c",
    "NOTHING": "",
    "UNICODE": "Zoë 日本 e\u0301",
    "DEV_SESSIONS_ID": "spoofed",
}
DESCRIPTION = "fix \"it\" 'now'\n第二\x1b[31mred\ttab " + "x" * 300


class Surrounded(NamedTuple):
    """A session created in an unusual environment, the output of `create`, and command lines with a secret."""

    lab: Lab
    id: str
    created: dict[str, Any]
    path: str
    secret: str
    told: set[str]


@pytest.fixture(scope="module")
def surrounded(claude: str) -> Iterator[Surrounded]:
    """Created by an agent, with a profile that resets PATH, a value that is not UTF-8, and an exported function."""
    with Lab(claude, "odd") as lab:
        for name in (".profile", ".bash_profile", ".bashrc", ".zprofile"):
            (lab.home / name).write_text("PATH=/usr/bin:/bin\nexport PATH\n")
        script(lab.path / "tools" / "only-here", "echo found")
        path, secret = f"{lab.path / 'tools'}:{lab.env['PATH']}", "s3cr3t-" + os.urandom(6).hex()
        env = {"PATH": path, "SHELL": "/bin/bash", "LATIN": "caf\udce9", "BASH_FUNC_f%%": "() {  true\n}"}
        words = [word for name, value in GIVEN.items() for word in ("--env", f"{name}={value}")]
        words += ["--id", "odd", "-d", DESCRIPTION, "--group", "my-group", "--model", "opus"]
        with command_lines(secret) as told:
            done = lab.run("create", "--json", *words, env={**INHERITED, **env, "MY_SECRET": secret})
            assert done.code == 0, done
            lab.ok("ask", "odd", "[[reply: Hush.]]")
        yield Surrounded(lab, "odd", done.json, path, secret, told)
        lab.ok("kill", "odd")
        assert leftovers(lab) == []


@contextlib.contextmanager
def command_lines(secret: str) -> Iterator[set[str]]:
    """The command lines that contain a secret or the key, sampled continuously: all users can read them."""
    seen: set[str] = set()
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.01):
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal():
                    try:
                        content = (entry / "cmdline").read_bytes()
                    except OSError:
                        continue
                    if secret.encode() in content or KEY.encode() in content:
                        seen.add(content.replace(b"\0", b" ").decode())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield seen
    finally:
        over.set()
        sampler.join()


def test_started_from_inside_another_agent(surrounded: Surrounded) -> None:
    """The new agent inherits nothing of the caller's agent, session and terminal; its parent is known."""
    lab, id = surrounded.lab, surrounded.id
    assert surrounded.created["parent"] == "fizz-top"
    assert json.loads(lab.ok("list", "--json"))[0]["parent"] == "fizz-top"
    seen = environment(lab, id)
    ours = {"DEV_SESSIONS_ID", "DEV_SESSIONS_KEY", "DEV_SESSIONS_DEPTH", "KEPT"}
    assert [name for name in INHERITED if name in seen and name not in ours] == []
    assert seen["DEV_SESSIONS_DEPTH"] == "3"
    assert seen["KEPT"] == "yes"
    # What the agent's own shell sees; Claude sets some of these variables again.
    printed = lab.ok("ask", id, "[[bash: env | sort]][[replytool: 20000]]").splitlines()
    assert f"DEV_SESSIONS_ID={id}" in printed
    assert "DEV_SESSIONS_DEPTH=3" in printed
    assert "CLAUDE_CODE_SESSION_ID=00000000-0000-4000-8000-000000000000" not in printed
    assert not [line for line in printed if line.startswith("CODEX_")]
    # Claude keeps a transcript. It would not if it treated the session as part of another one.
    assert said(lab, id)


def test_environment_arguments(surrounded: Surrounded) -> None:
    lab, id = surrounded.lab, surrounded.id
    seen = environment(lab, id)
    assert {name: seen.get(name) for name in GIVEN} == {**GIVEN, "DEV_SESSIONS_ID": id}
    assert seen["LATIN"] == "caf\udce9"
    printed = lab.ok("ask", id, "[[bash: printf '%s' \"$QUOTES|$LINES_|$SPACES|\"]][[replytool]]")
    assert printed == 'it\'s "quoted" `x` $HOME $(id) \\|one\ntwo\n|a  b |'
    for wrong in ("NOVALUE", "=x", "1A=x", "A-B=x", "A B=x"):
        refused(lab.run("create", "--env", wrong), 2, wrong.partition("=")[0])


def test_path_of_the_caller_survives_a_login_shell(surrounded: Surrounded) -> None:
    """The user's profile resets PATH; the agent has the caller's, and finds a program that is only there."""
    lab, id = surrounded.lab, surrounded.id
    assert environment(lab, id)["PATH"] == surrounded.path
    printed = lab.ok("ask", id, '[[bash: only-here; echo "$PATH"]][[replytool]]').splitlines()
    assert printed[0] == "found"
    assert str(lab.path / "tools") in printed[1].split(":")


def test_secrets_are_not_on_any_command_line(surrounded: Surrounded) -> None:
    """Command lines are sampled continuously from before the create until the end of a turn."""
    lab, id, secret = surrounded.lab, surrounded.id, surrounded.secret
    assert environment(lab, id)["MY_SECRET"] == secret
    assert surrounded.told == set()
    # Only the owner can read the files that contain it.
    holders = [path for path in lab.folder(id).rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in holders), holders
    assert all(path.stat().st_mode & 0o077 == 0 for path in (lab.state, lab.state / "sessions", lab.folder(id)))


def test_bypass_warning_never_stands_in_the_way(surrounded: Surrounded) -> None:
    """The settings of the session, not those of the user, accept the warning about bypassed permissions."""
    assert "bypass permissions on" in surrounded.lab.screen(surrounded.id).lower()
    for path in (surrounded.lab.home / ".claude").glob("settings*.json"):
        assert "skipDangerousModePermissionPrompt" not in path.read_text()


def test_description_group_and_json(surrounded: Surrounded) -> None:
    lab, created = surrounded.lab, surrounded.created
    wanted = {
        "id": "odd",
        "cli": "claude",
        "mode": "native",
        "permissions": "full",
        "path": str(lab.project),
        "host": None,
        "description": DESCRIPTION,
        "group": "my-group",
        "parent": "fizz-top",
        "model": "opus",
        "status": "idle",
    }
    assert {name: created.get(name) for name in wanted} == wanted
    assert {"attach", "interrupt"} <= set(created["capabilities"])
    row = json.loads(lab.ok("list", "--json", "--group", "my-group"))[0]
    assert {name: row.get(name) for name in wanted} == wanted
    table = lab.ok("list")
    assert len(table.splitlines()) == 2, table
    assert "\x1b" not in table
    assert "opus" in " ".join(Path(f"/proc/{lab.pid('odd')}/cmdline").read_text().split("\0"))


def test_another_path_for_the_agent(lab: Lab) -> None:
    """The agent gets the PATH of `--env PATH=...`; the agent's program is found on the caller's PATH."""
    claude = script(lab.path / "bin" / "claude", f"/usr/bin/env >'{lab.path}/seen'", "exit 3")
    del lab.env["DEV_SESSIONS_CLAUDE"]
    lab.env["PATH"] = f"{claude.parent}:{lab.env['PATH']}"
    refused(lab.run("create", "--env", "PATH=/usr/bin:/bin"), 1, "ended while it was starting")
    assert "PATH=/usr/bin:/bin" in (lab.path / "seen").read_text().splitlines()


def test_state_folder_with_a_hostile_name(lab: Lab) -> None:
    state = lab.path / "st'a\"te $HOME #{pid} *[x] ~ ü; (1)"
    lab.env["DEV_SESSIONS_HOME"] = str(state)
    lab.state = state
    id = lab.create()
    assert lab.ok("ask", id, "[[reply: First.]]") == "First."
    # A terminal would alter this text, so it is sent as a file: the agent gets a pointer to it, and may open it.
    assert json.loads(lab.ok("send", id, "--json", "--file", "-", stdin="by file\tto the end"))["via"] == "file"
    lab.ok("wait", id)
    text = lab.folder(id) / "messages" / "0002" / "text.md"
    assert any(str(text) in prompt for prompt in said(lab, id))
    assert lab.ok("ask", id, f"[[read: {text}]][[replytool]]").rstrip().endswith("end")
    lab.ok("kill", id)
    assert leftovers(lab) == []


# tmux.


HOSTILE_TMUX = """
set -g destroy-unattached on
set -g exit-unattached on
set-hook -g session-created 'rename-session of-the-hook'
set -g prefix C-a
unbind C-b
set -g mouse on
set -g base-index 1
setw -g pane-base-index 1
set -g default-shell /bin/false
set -g default-command "echo this is the default command; exec /bin/sh"
set -g remain-on-exit on
set -g status off
set -g update-environment "PATH HOME DEV_SESSIONS_ID ANTHROPIC_API_KEY"
set -g renumber-windows on
setw -g mode-keys vi
setw -g automatic-rename on
setw -g aggressive-resize on
setw -g synchronize-panes on
setw -g monitor-activity on
set -g default-terminal screen-256color
set -g set-titles on
set -g escape-time 0
set -g history-limit 0
set -g default-size 40x10
set -g window-size smallest
set -g lock-after-time 1
set -g word-separators ""
"""


def test_hostile_tmux_configuration(lab: Lab) -> None:
    (lab.home / ".tmux.conf").write_text(HOSTILE_TMUX)
    id = lab.create()
    assert lab.ok("status", id) == "idle"
    lines = "one\ntwo\n\nthree\nfour [[reply: all of it]]"
    assert lab.ok("ask", id, lines) == "all of it"
    assert said(lab, id) == [lines]
    lab.ok("kill", id)
    # The user's `remain-on-exit` leaves no pane of ours, and no server without sessions.
    assert lab.tmux("list-sessions") == ""
    assert lab.processes() == []


def test_same_id_under_another_state_folder(lab: Lab) -> None:
    """Two state folders share the user's tmux server: each has its own session `parser`."""
    other = {"DEV_SESSIONS_HOME": str(lab.path / "other")}
    lab.create("--id", "parser", "--cli", "fake")
    second = lab.run("create", "--id", "parser", env=other)
    assert (second.code, "dev-parser-2" in second.err) == (0, True)
    assert lab.ok("ask", "parser", "[[reply: Mine.]]") == "Mine."
    assert lab.ok("ask", "parser", "[[reply: Ours.]]", env=other) == "Ours."
    lab.ok("kill", "parser", env=other)
    assert lab.ok("status", "parser") == "idle"
    lab.ok("kill", "parser")


# Programs.


def test_binary_missing(lab: Lab) -> None:
    lab.env["DEV_SESSIONS_CLAUDE"] = str(lab.path / "no-claude")
    refused(lab.run("create"), 1, str(lab.path / "no-claude"))
    del lab.env["DEV_SESSIONS_CLAUDE"]
    lab.env["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    refused(lab.run("create"), 1, "no claude on PATH", "DEV_SESSIONS_CLAUDE")
    error = json.loads(lab.run("create", "--json").out)["error"]
    assert (error["code"], "Claude Code" in error["message"]) == ("launch_failed", True)
    assert leftovers(lab) == []


@pytest.mark.parametrize("named", [True, False], ids=["named", "on-path"])
@pytest.mark.parametrize("kind", ["plain", "folder"])
def test_binary_that_is_no_program(lab: Lab, kind: str, named: bool) -> None:
    path = lab.path / "bin" / "claude"
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    else:
        path.write_text("#!/bin/sh\n")
    if named:
        lab.env["DEV_SESSIONS_CLAUDE"] = str(path)
    else:
        del lab.env["DEV_SESSIONS_CLAUDE"]
        lab.env["PATH"] = f"{path.parent}:{Path(sys.executable).parent}:/usr/bin:/bin"
    word = "not executable" if kind == "plain" else str(path) if named else "no claude on PATH"
    refused(lab.run("create"), 1, word)
    assert leftovers(lab) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["echo 'Fatal: the flux is out of line' >&2", "exit 3"], ["the flux is out of line"]),
        (["echo 'cannot open display'"], ["cannot open display"]),
        (["exit 1"], []),
        (["kill -SEGV $$"], []),
        (["exec /no/such/interpreter"], ["/no/such/interpreter"]),
    ],
    ids=["stderr", "stdout-exit-0", "silent", "signal", "exec"],
)
def test_agent_that_dies_at_its_start(lab: Lab, lines: list[str], words: list[str]) -> None:
    lab.env["DEV_SESSIONS_CLAUDE"] = str(script(lab.path / "bin" / "claude", *lines))
    refused(lab.run("create"), 1, "ended while it was starting", *words)
    assert leftovers(lab) == []


def test_binary_with_a_missing_interpreter(lab: Lab) -> None:
    path = script(lab.path / "bin" / "claude")
    path.write_text("#!/no/such/interpreter\n")
    lab.env["DEV_SESSIONS_CLAUDE"] = str(path)
    refused(lab.run("create"), 1, str(path))
    assert leftovers(lab) == []


def test_agent_that_never_gets_ready(lab: Lab) -> None:
    """The agent may still be busy: it is left for a person, and the error reports that within the time limit."""
    lab.env["DEV_SESSIONS_CLAUDE"] = str(script(lab.path / "bin" / "claude", "exec python3 -c 'input()'"))
    lab.env["DEV_SESSIONS_READY_TIMEOUT"] = "3"
    done = lab.run("create", "--id", "stuck")
    refused(done, 6, "not ready", "3 s", "kill stuck")
    assert listed(lab) == {"stuck": "waiting_for_input"}
    assert lab.ok("kill", "stuck") == "Killed session stuck"
    assert leftovers(lab) == []


def test_no_tmux(lab: Lab) -> None:
    (lab.path / "bin").mkdir()
    for name in ("sh", "cat", "env"):
        (lab.path / "bin" / name).symlink_to(shutil.which(name) or "")
    path = str(lab.path / "bin")
    refused(lab.run("create", env={"PATH": path}), 1, "tmux is not installed", "DEV_SESSIONS_GATEWAY_URL")
    del lab.env["IS_SANDBOX"]
    refused(lab.run("create", "--permissions", "edit", env={"PATH": path}), 1, "tmux is not installed", "install tmux")
    assert leftovers(lab) == []


# Root can write to and enter every folder unless that right is removed.
WITHOUT_ROOTS_RIGHTS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def as_a_plain_user(lab: Lab, *words: str) -> Done:
    argv = [*WITHOUT_ROOTS_RIGHTS, *lab.argv(*words)]
    done = subprocess.run(argv, env=lab.env, cwd=lab.project, capture_output=True, text=True)
    return Done(done.returncode, done.stdout, done.stderr)


def test_state_folder_that_may_not_be_written(lab: Lab) -> None:
    """As in a sandbox in which a command can read everything but write almost nothing."""
    lab.state.mkdir(mode=0o500)
    refused(as_a_plain_user(lab, "create"), 1, str(lab.state), "DEV_SESSIONS_HOME", "sandbox")
    lab.state.chmod(0o700)
    assert leftovers(lab) == []


def test_state_folder_that_cannot_be_made(lab: Lab) -> None:
    (lab.path / "file").write_text("")
    done = lab.run("create", env={"DEV_SESSIONS_HOME": str(lab.path / "file" / "state")})
    refused(done, 1, "DEV_SESSIONS_HOME")
    assert lab.processes() == []


# Folders.


# All special characters at once, and each alone, to show which one caused a failure.
ALONE = {
    "dots": "v1.2..3.",
    "dash": "-rf",
    "nfc": unicodedata.normalize("NFC", "Zoë-日本-é"),
    "nfd": unicodedata.normalize("NFD", "Zoë-é"),
    "blanks": " two  blanks ",
    "single-quote": "it's",
    "double-quote": 'say "hi"',
    "dollar": "$HOME $(touch pwned) `touch pwned` ${x}",
    "tmux-format": "#{pid} #(touch pwned) #S ;",
    "backslash": "back\\slash\\n",
    "braces": "{path} {0} %s %(a)s",
    "newline": "two\nlines",
    "tab": "a\tb",
    "glob": "*[a-z]?",
    "long": "x" * 120 + "/" + "y" * 120,
}
HOSTILE = "-rf " + "".join(name for id, name in ALONE.items() if id not in ("dash", "long"))
FOLDERS = [
    pytest.param(f"{'x' * 120}/{HOSTILE}", id="all"),
    *(pytest.param(name, id=id, marks=only_in_soak) for id, name in ALONE.items()),
]


@pytest.mark.parametrize("name", FOLDERS)
def test_hostile_folder(shared: Lab, name: str) -> None:
    """The agent works in exactly that folder and receives messages there, and the folder's dialog was answered."""
    lab = shared
    lab.trust()  # forget which folders Claude has learned to trust meanwhile
    folder = lab.path / "folders" / name
    folder.mkdir(parents=True)
    done = lab.run("create", "-q", "--path", str(folder))
    assert done.code == 0, done
    id = done.out.strip()
    assert TRUSTED in done.err
    row = {row["id"]: row for row in json.loads(lab.ok("list", "--json"))}[id]
    assert row["path"] == str(folder)
    assert lab.ok("ask", id, "[[bash: touch here; pwd -P > where]][[reply: Noted.]]") == "Noted."
    assert (folder / "where").read_bytes() == os.fsencode(folder) + b"\n"
    assert sorted(os.listdir(folder)) == ["here", "where"]
    assert said(lab, id) == ["[[bash: touch here; pwd -P > where]][[reply: Noted.]]"]
    lab.ok("kill", id)


def test_folder_that_is_none(lab: Lab) -> None:
    (lab.path / "a file").write_text("")
    refused(lab.run("create", "-p", str(lab.path / "it's nowhere")), 2, str(lab.path / "it's nowhere"), "mkdir")
    refused(lab.run("create", "-p", str(lab.path / "a file")), 2, str(lab.path / "a file"))
    # An empty path comes from an unset variable; it must not mean the caller's current folder.
    refused(lab.run("create", "-p", ""), 2, "path")
    (lab.path / "loop").symlink_to(lab.path / "loop")
    refused(lab.run("create", "-p", str(lab.path / "loop")), 2, str(lab.path / "loop"))
    refused(lab.run("create", "-p", "/" + "x" * 300), 2, "xxx")
    latin = os.fsdecode(os.fsencode(lab.path) + b"/caf\xe9")
    os.mkdir(latin)
    refused(lab.run("create", "-p", latin), 2, "UTF-8")
    gone = lab.path / "gone"
    gone.mkdir()
    command = f"cd {shlex.quote(str(gone))} && rmdir ../gone && exec {shlex.join(lab.argv('create'))}"
    done = subprocess.run(["/bin/sh", "-c", command], env=lab.env, capture_output=True, text=True)
    refused(Done(done.returncode, done.stdout, done.stderr), 2, "directory")
    assert leftovers(lab) == []


def test_folder_that_may_not_be_entered(lab: Lab) -> None:
    closed = lab.path / "closed"
    closed.mkdir(mode=0o000)
    for path in (closed, closed / "inner"):
        refused(as_a_plain_user(lab, "create", "-p", str(path)), 2, str(path))
    closed.chmod(0o700)
    assert leftovers(lab) == []


# Options.


def test_first_message_that_cannot_be_read(lab: Lab) -> None:
    """The error comes before anything is started."""
    (lab.path / "latin").write_bytes(b"caf\xe9")
    (lab.path / "empty").write_text(" \n")
    for name in ("missing", "latin", "empty", "."):
        refused(lab.run("create", "--file", str(lab.path / name)), 2)
    assert leftovers(lab) == []


def test_wrong_options(lab: Lab) -> None:
    refused(lab.run("create", "--permissions", "root"), 2, "root", "full, edit, ask, plan")
    refused(lab.run("create", "--cli", "emacs"), 2, "emacs")
    refused(lab.run("create", "--mode", "cloud"), 2, "cloud")
    refused(lab.run("create", "--mode", "docker"), 1, "no clauded on PATH", "function or alias")
    refused(lab.run("create", env={"DEV_SESSIONS_READY_TIMEOUT": "soon"}), 2, "DEV_SESSIONS_READY_TIMEOUT")
    assert leftovers(lab) == []


# Many at once, and interrupted creates.


@pytest.mark.soak
def test_several_at_once(lab: Lab, claude: str) -> None:
    """In an untrusted folder, so that all get the same dialog at the same time."""
    lab.trust()
    many = size(2, 8)
    started = [lab.start("create", "-q") for _ in range(many)]
    done = [lab.finish(process) for process in started]
    assert [one.code for one in done] == [0] * many, done
    ids = [one.out.strip() for one in done]
    assert len(set(ids)) == many
    assert listed(lab) == dict.fromkeys(ids, "idle")
    assert len(agents(lab, claude)) == many
    for number, id in enumerate(ids):
        assert lab.ok("send", id, f"[[reply: I am {number}.]]") == "started (turn 1)"
    lab.ok("wait", *ids)
    assert [lab.ok("last-message", id) for id in ids] == [f"I am {number}." for number in range(many)]
    lab.ok("kill", *ids)
    assert leftovers(lab) == []


def _record(lab: Lab) -> bool:
    return any(lab.state.glob("sessions/*/record.json"))


def _script_written(lab: Lab) -> bool:
    return any(lab.state.glob("sessions/*/agent/start.sh"))


def _process_known(lab: Lab) -> bool:
    return any(lab.state.glob("sessions/*/process"))


def _screen_shown(lab: Lab) -> bool:
    name = lab.tmux("list-sessions", "-F", "#{session_name}").strip()
    return bool(name) and "❯" in lab.tmux("capture-pane", "-p", "-t", f"={name}:")


def _reported(lab: Lab) -> bool:
    return any(lab.state.glob("sessions/*/facts/*.json"))


MOMENTS = {
    "begun": lambda lab: (lab.state / "sessions.lock").exists(),
    "record": _record,
    "script": _script_written,
    "process": _process_known,
    "dialog": _screen_shown,
    "reported": _reported,
}


def _cut_short(lab: Lab, moment: Callable[[Lab], bool], number: int) -> Done:
    """A create that is signalled at that moment, unless it ended before."""
    lab.trust()
    creating = lab.start("create", "-q", start_new_session=True)
    lab.until(lambda: moment(lab) or creating.poll() is not None, "the moment")
    os.killpg(creating.pid, number)
    return lab.finish(creating)


KILLED = [("record", "kill"), ("dialog", "term")]
ENDS = [
    pytest.param(moment, number, id=f"{word}-{name}", marks=() if (name, word) in KILLED else only_in_soak)
    for word, number in (("kill", signal.SIGKILL), ("term", signal.SIGTERM))
    for name, moment in MOMENTS.items()
]


@pytest.mark.soak
@pytest.mark.parametrize(("moment", "number"), ENDS)
def test_create_killed_half_way(lab: Lab, claude: str, moment: Callable[[Lab], bool], number: int) -> None:
    """Whatever runs is listed, whatever is listed can be killed, and nothing is left after that."""
    _cut_short(lab, moment, number)
    rows = listed(lab)
    assert lab.run("list").code == 0
    running = agents(lab, claude)
    known = {lab.pid(id) for id in rows if (lab.folder(id) / "process").exists()}
    assert set(running) <= known
    names = lab.tmux("list-sessions", "-F", "#{session_name}").split()
    assert set(names) <= {f"dev-{id}" for id in rows}
    if rows:
        lab.ok("kill", *rows)
    # If create is killed before it registers the session, the folder contains only the record (or half of it).
    folders = lab.state.glob("sessions/*")
    bare = [path.name for path in folders if all(name.startswith("record.json") for name in os.listdir(path))]
    assert [left for left in leftovers(lab) if left not in bare] == []
    lab.ok("kill", lab.create("--cli", "fake"))


@pytest.mark.soak
@pytest.mark.parametrize(
    "moment",
    [pytest.param(moment, id=name, marks=() if name == "dialog" else only_in_soak) for name, moment in MOMENTS.items()],
)
def test_create_interrupted_with_ctrl_c(lab: Lab, moment: Callable[[Lab], bool]) -> None:
    done = _cut_short(lab, moment, signal.SIGINT)
    assert "Traceback" not in done.err
    assert done.code == 130, done
    assert leftovers(lab) == []


def test_create_interrupted_while_tmux_has_the_order(lab: Lab) -> None:
    """A slow server still makes the session when its client may already be gone."""
    real = shutil.which("tmux", path=lab.env["PATH"])
    asked, made = lab.path / "asked", lab.path / "made"
    late = f"""setsid sh -c 'sleep 0.5; {real} "$@"; touch {made}' tmux "$@" & touch {asked}; wait $!; exit"""
    slow = script(lab.path / "bin" / "tmux", f'case "$*" in *new-session*) {late};; esac', f'exec {real} "$@"')
    lab.trust()
    creating = lab.start("create", "-q", start_new_session=True, env={"PATH": f"{slow.parent}:{lab.env['PATH']}"})
    lab.until(asked.exists, "the order")
    os.killpg(creating.pid, signal.SIGINT)
    done = lab.finish(creating)
    assert (done.code, "Traceback" in done.err) == (130, False), done
    lab.until(made.exists, "what tmux was told to do")
    assert leftovers(lab) == []


def test_killed_while_it_is_being_created(lab: Lab) -> None:
    """`kill` of a session while its `create` is running: both end, and nothing is left."""
    # Claude's program is delayed, so that the kill always comes first.
    slow = script(lab.path / "bin" / "claude", "exec python3 -c 'input()'")
    creating = lab.start("create", "--id", "early", env={"DEV_SESSIONS_CLAUDE": str(slow)})
    lab.until(lambda: _process_known(lab), "the agent's process")
    assert lab.ok("kill", "early") == "Killed session early"
    created = lab.finish(creating)
    assert created.out == ""
    refused(created, 1)
    assert leftovers(lab) == []
