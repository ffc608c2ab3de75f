"""A place of its own for a test with real programs: HOME, state folder, tmux server, model server, working folders.

Nothing outside of it is read or changed, and whatever was started in it is ended with it, by pid. It is below /var/tmp:
not in the checkout, since an agent that starts in a repository looks through it (a third of what its start takes), and
not below /tmp, since Codex's sandbox has a /tmp of its own and looks for its helper in Codex's home.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple, Self

from forked import Forked
from model_server import ModelServer

ROOT = Path(__file__).resolve().parents[2]
LABS = Path(f"/var/tmp/dev-sessions-{os.getuid()}")
KEY = "sk-ant-offline-0123456789abcdefghij"
COMMAND_SECONDS = 120


class Done(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Lab:
    """Use as a context manager.

    Attributes:
        forked: runs the commands, where it does not matter how a command starts; else each is a Python of its own.

    Args:
        claude: path of the real `claude`, or None for tests that need none.
        name: distinguishes labs that live at the same time.
    """

    forked: Forked | None = None

    def __init__(self, claude: str | None = None, name: str = "lab") -> None:
        # Short: Codex puts sockets below it, whose paths may have no more than some 100 characters.
        self.path = LABS / f"{name.removeprefix('test_')[:6]}-{os.urandom(3).hex()}"
        self.home, self.state, self.project = self.path / "home", self.path / "state", self.path / "project"
        LABS.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.home, self.project):
            folder.mkdir(parents=True)
        self.tmux_folder = Path(tempfile.mkdtemp(prefix="ds-lab-"))
        self.model = ModelServer()
        self._started: list[subprocess.Popen[str]] = []
        self.mark = f"DEV_SESSIONS_LAB={self.path}"
        self.env = self._environment(claude)
        self.trust(self.project)

    def __enter__(self) -> Self:
        self.model.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _environment(self, claude: str | None) -> dict[str, str]:
        env = {
            # The interpreter's own folder first: there is the `dev-sessions` under test.
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "IS_SANDBOX": "1",
            "DEV_SESSIONS_HOME": str(self.state),
            "TMUX_TMPDIR": str(self.tmux_folder),
            "ANTHROPIC_BASE_URL": self.model.url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            # Else each start clones a repository, asks dpkg and ps, and nothing of that is for a test.
            "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
            "CLAUDE_CODE_IDE_SKIP_AUTO_INSTALL": "1",
            "DISABLE_INSTALLATION_CHECKS": "1",
            "DISABLE_TELEMETRY": "1",
            "DEV_SESSIONS_LAB": str(self.path),
        }
        if claude:
            env["DEV_SESSIONS_CLAUDE"] = claude
        # Where coverage is measured, it is in our commands too.
        env |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS_")}
        return env

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """The environment of a command."""
        return {**self.env, **(more or {})}

    def trust(self, *folders: Path) -> None:
        """Write Claude's first-run file: past the onboarding, these folders trusted (none: its dialog will come)."""
        first_run = {
            "hasCompletedOnboarding": True,
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(folder): {"hasTrustDialogAccepted": True} for folder in folders},
        }
        (self.home / ".claude.json").write_text(json.dumps(first_run))

    def log_in(self) -> None:
        """Give Claude a subscription's login, which is not checked, instead of the API key."""
        token: dict[str, Any] = {"accessToken": "sk-ant-oat01-offline", "refreshToken": "sk-ant-ort01-offline"}
        token |= {"expiresAt": int((time.time() + 86_400) * 1000), "scopes": ["user:inference", "user:profile"]}
        credentials = self.home / ".claude" / ".credentials.json"
        credentials.parent.mkdir(exist_ok=True)
        credentials.write_text(json.dumps({"claudeAiOauth": token | {"subscriptionType": "max"}}))
        first_run = json.loads((self.home / ".claude.json").read_text())
        account = {"accountUuid": str(uuid.UUID(int=1)), "organizationUuid": str(uuid.UUID(int=2))}
        account |= {"emailAddress": "a@example.com", "billingType": "stripe_subscription"}
        (self.home / ".claude.json").write_text(json.dumps(first_run | {"oauthAccount": account}))
        del self.env["ANTHROPIC_API_KEY"]

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "dev_sessions", *args]

    def run(self, *args: str, stdin: str | None = None, env: dict[str, str] | None = None, **options: Any) -> Done:
        """Run `dev-sessions ARGS` to its end. `env` adds variables."""
        there, cwd, given = self.environment(env), options.pop("cwd", self.project), (stdin or "").encode()
        timeout = options.pop("timeout", COMMAND_SECONDS)
        alike = type(self).argv is Lab.argv and not options
        if self.forked and alike and not any(name.startswith(("PYTHON", "COVERAGE_PROCESS_")) for name in there):
            code, out, err = self.forked.run(args, there, str(cwd), given, timeout)
            return Done(code, out.decode(), err.decode())
        done = subprocess.run(
            self.argv(*args), env=there, cwd=cwd, input=given, capture_output=True, timeout=timeout, **options
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *args: str, **options: Any) -> str:
        """Run a command that has to succeed; returns its output without the last line feed."""
        done = self.run(*args, **options)
        assert done.code == 0, f"{args}: exit {done.code}\n{done.out}\n{done.err}"
        return done.out.rstrip("\n")

    def start(self, *args: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start `dev-sessions ARGS` in the background; read it with `finish`."""
        process = subprocess.Popen(
            self.argv(*args),
            env=self.environment(env),
            cwd=options.pop("cwd", self.project),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self._started.append(process)
        return process

    @staticmethod
    def finish(process: subprocess.Popen[str], timeout: float = COMMAND_SECONDS) -> Done:
        """Wait for the end of a command from `start`."""
        out, err = process.communicate(timeout=timeout)
        return Done(process.returncode, out, err)

    def create(self, *args: str, **options: Any) -> str:
        """Create a session and return its id."""
        return self.ok("create", "-q", *args, **options)

    def tmux(self, *words: str) -> str:
        """A tmux command on this lab's server, as a person in another terminal would give it."""
        done = subprocess.run(["tmux", *words], env=self.env, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout

    def keys(self, id: str, *keys: str) -> None:
        """Press keys in a session's terminal, as an attached person would."""
        self.tmux("send-keys", "-t", f"=dev-{id}:", *keys)

    def screen(self, id: str) -> str:
        return self.tmux("capture-pane", "-p", "-t", f"=dev-{id}:")

    def folder(self, id: str) -> Path:
        """The session's folder, live or archived."""
        found = [*self.state.glob(f"sessions/{id}-????????"), *self.state.glob(f"archive/{id}-????????")]
        assert len(found) == 1, found
        return found[0]

    def pid(self, id: str) -> int:
        """The pid of a session's agent."""
        return int((self.folder(id) / "process").read_text().splitlines()[0])

    def transcript(self, id: str) -> list[dict[str, Any]]:
        """The entries of a Claude session's transcript so far."""
        record = json.loads((self.folder(id) / "record.json").read_text())
        paths = list((self.home / ".claude" / "projects").glob(f"*/{record['backend']['uuid']}.jsonl"))
        lines = paths[0].read_text().split("\n") if paths else [""]
        return [json.loads(line) for line in lines[:-1]]

    def prompts(self, id: str) -> list[str]:
        """All prompts of a Claude session, in order, from its transcript."""
        found = []
        for entry in self.transcript(id):
            content = (entry.get("message") or {}).get("content")
            if entry.get("type") == "user" and isinstance(content, str) and not entry.get("isMeta"):
                found.append(content)
            attached = entry.get("attachment") or {}
            if attached.get("type") == "queued_command":
                found.append(attached["prompt"])
        return found

    def prompts_since(self, id: str, before: list[str], count: int) -> list[str]:
        """The prompts behind those, once there are so many: the transcript lags behind a turn's end."""
        self.until(lambda: len(self.prompts(id)) >= len(before) + count, f"{count} prompts in the transcript")
        return self.prompts(id)[len(before) :]

    def input_box(self, id: str) -> str:
        """The text in Claude's input box: the lines between the last two rules on the screen, without the sign."""
        rows = self.screen(id).split("\n")
        rules = [index for index, row in enumerate(rows) if row.rstrip().endswith("──")]
        if len(rules) < 2:
            return "no input box"
        content = [row.replace("\xa0", " ").rstrip() for row in rows[rules[-2] + 1 : rules[-1]]]
        return "\n".join(row[2:] for row in content).strip()

    def until(self, condition: Any, what: str, timeout: float = 30.0) -> Any:
        """Wait for a condition of the outside world (a file, a screen); returns its first true value."""
        began = time.monotonic()
        end = began + timeout
        while not (value := condition()):
            looked = time.monotonic()
            assert looked < end, f"not within {timeout:g} s: {what}"
            time.sleep(max(0.02, looked - began))  # at most half of a processor for looking
            began = time.monotonic()
        return value

    def is_waiting(self, pid: int) -> bool:
        """True if the `wait` of that process has had its first look, and rests."""
        return is_waiting(pid)

    def processes(self) -> list[int]:
        """Pids of all processes of this lab, found by a mark in their environment (Linux)."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdecimal() and int(name) != os.getpid():
                try:
                    content = Path(f"/proc/{name}/environ").read_bytes()
                    state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if self.mark.encode() in content.split(b"\0") and state != "Z":
                    found.append(int(name))
        return found

    def commands(self) -> dict[int, list[bytes]]:
        """The words of the command of each process of this lab, but for those that end meanwhile."""
        found = {}
        for pid in self.processes():
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return found

    def running(self, *words: str) -> list[int]:
        """Pids of those processes of this lab that have all of these among the words of their command."""
        return [pid for pid, command in self.commands().items() if all(word.encode() in command for word in words)]

    def hooks(self) -> list[int]:
        """The processes of Claude's hooks that wait for an answer."""
        return [pid for pid, command in self.commands().items() if any(b"mkfifo" in word for word in command)]

    def pending(self, *words: str) -> list[dict[str, Any]]:
        """The open questions, once there is one with each of these words and no other."""

        def all_there() -> tuple[list[dict[str, Any]]] | None:
            found: list[dict[str, Any]] = json.loads(self.ok("pending", "--json"))
            there = [next((one for one in found if word in one["text"]), None) for word in words]
            return ([one for one in there if one],) if None not in there and len(found) == len(words) else None

        return list(self.until(all_there, f"questions with {words} and no other")[0])

    def close(self) -> None:
        """End everything that was started here, and remove the folder (kept with DEV_SESSIONS_KEEP_LAB=1)."""
        self.model.close()
        # None is worth waiting for: a Claude takes leave for as long as it took to start.
        end = time.monotonic() + 5
        while (left := self.processes()) and time.monotonic() < end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for process in self._started:  # those that a failed test has not read to their end
            process.kill()
            with process:
                pass
        if not os.environ.get("DEV_SESSIONS_KEEP_LAB"):
            shutil.rmtree(self.path, ignore_errors=True)
            shutil.rmtree(self.tmux_folder, ignore_errors=True)


def is_waiting(pid: int) -> bool:
    """True if a `wait` has read its sessions once and rests, with its descriptor for changes open (Linux)."""
    folder = Path(f"/proc/{pid}")
    try:
        opened = any("inotify" in os.readlink(link) for link in (folder / "fd").iterdir())
        return opened and "poll" in (folder / "wchan").read_text()
    except FileNotFoundError:
        return False  # the descriptor or the process has just gone


def subagent(script: str, task: str = "a helper", **more: Any) -> str:
    """A directive that makes Claude start a subagent, whose prompt is `script`."""
    given = {"description": task, "prompt": script, "subagent_type": "general-purpose", **more}
    return f"[[tool: Agent {json.dumps(given)}]]"


def branch_state(run: Path, name: str) -> dict[str, Any]:
    """How far a branch of a fan-out has come, by the folder of its run; empty if it was not begun."""
    try:
        found: dict[str, Any] = json.loads((run / "branches" / f"{name}.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def codex_stand_in(lab: Lab, folder: Path) -> dict[str, str]:
    """The variables for the scripted Codex, with its own CODEX_HOME, and so its own server, in `folder`."""
    home, program = folder / "codex-home", folder / "codex"
    home.mkdir()
    (home / "config.toml").touch()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dev_sessions_fake.codex "$@"\n')
    program.chmod(0o755)
    return {"CODEX_HOME": str(home), "DEV_SESSIONS_CODEX": str(program), "FAKE_SOCKETS": str(lab.tmux_folder)}
