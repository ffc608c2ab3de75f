"""Run a Claude and a Codex session side by side, from start to end, and show the command of each step.

    python scripts/demo.py           the real Claude Code and Codex, an offline model, and a temporary home
    python scripts/demo.py --real    your own claude and codex (whichever you have), accounts and sessions; one short
                                     harmless task

`make demo` calls this. It ends everything that it starts, even on Ctrl-C or failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(sys.executable).with_name("dev-sessions")  # installed beside this Python
KEY = "sk-ant-offline-0123456789abcdefghij"
REAL_TASK = "Reply with one short sentence: what is 6 times 7?"
# The text in [[ ]] scripts the offline model: call the shell tool, then reply with the command's output.
OFFLINE_TASK = 'What is 6 times 7? [[bash: echo "6 times 7 is $((6 * 7))." | tee -a answer.txt]] [[replytool]]'
NAMES = {"claude": "Claude Code", "codex": "Codex"}
COMMAND_SECONDS = 180


class Stop(Exception):
    """The demo cannot continue; the message says why."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Run two dev-sessions sessions from start to end.")
    parser.add_argument("--real", action="store_true", help="use your own claude, codex and accounts")
    real = parser.parse_args().real
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            scratch = Path(tempfile.mkdtemp(prefix="ds-demo-")).resolve()
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            project = scratch / "project"
            project.mkdir()
            env = dict(os.environ) if real else offline_environment(scratch, stack)
            demo = Demo(env, project)
            stack.callback(demo.clean_up, own_tmux=not real)
            (real_tour if real else offline_tour)(demo)
    except Stop as stop:
        print(f"The demo failed: {stop}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the demo has ended everything that it started.", file=sys.stderr)
        return 130
    print("Done; nothing is left running. Put dev-sessions on your PATH with: pipx install .")
    return 0


def offline_environment(scratch: Path, stack: contextlib.ExitStack) -> dict[str, str]:
    """A temporary home, state folder and tmux server, and a model that needs no network."""
    claude, codex = (fetched(name) for name in NAMES)
    sys.path.insert(0, str(ROOT / "tests" / "fakes"))
    from codex_lab import CONFIG
    from model_server import ModelServer

    model = stack.enter_context(ModelServer())
    home = scratch / "home"
    (home / ".codex").mkdir(parents=True)
    (home / ".codex" / "config.toml").write_text(CONFIG.format(url=model.url, project=scratch / "project"))
    # Answers to questions of Claude's first run; it still asks whether the folder is trusted.
    approved = {"approved": [KEY[-20:]], "rejected": []}
    first_run = {"hasCompletedOnboarding": True, "customApiKeyResponses": approved}
    (home / ".claude.json").write_text(json.dumps(first_run))
    say("The offline model server listens only on this machine; the home, state folder and tmux server are temporary.")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "TERM": os.environ.get("TERM", "xterm-256color"),
        "HOME": str(home),
        "IS_SANDBOX": "1",  # lets Claude run with full permissions as root too
        "DEV_SESSIONS_HOME": str(scratch / "state"),
        "DEV_SESSIONS_CLAUDE": claude,
        "DEV_SESSIONS_CODEX": codex,
        "TMUX_TMPDIR": str(scratch),
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": KEY,
        "OFFLINE_MODEL_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


def fetched(name: str) -> str:
    """Return the path of a pinned agent's program."""
    path = os.environ.get(f"DEV_SESSIONS_TEST_{name.upper()}") or str(ROOT / ".agents" / name)
    if not os.access(path, os.X_OK):
        raise Stop(f"no {name} at {path}; `make demo` fetches it")
    return os.path.abspath(path)


def offline_tour(demo: Demo) -> None:
    replies = demo.tour(OFFLINE_TASK, dict.fromkeys(NAMES, "full"))
    written = demo.project / "answer.txt"
    if not written.exists() or written.read_text().splitlines() != replies:
        raise Stop(f"the replies are {replies!r}, which is not what answer.txt contains")
    say("\nThe commands really ran: answer.txt in the project folder contains the same lines.")


def real_tour(demo: Demo) -> None:
    there = [name for name in NAMES if shutil.which(os.environ.get(f"DEV_SESSIONS_{name.upper()}") or name)]
    if not there:
        raise Stop("found neither a claude nor a codex on your PATH; without REAL=1 the demo uses its own")
    say(f"This uses your own {' and '.join(there)}, account and tmux server, and a temporary project folder.")
    permissions = dict.fromkeys(there, "full")
    if "claude" in there and os.geteuid() == 0 and not os.environ.get("IS_SANDBOX"):
        permissions["claude"] = "edit"
        say("Claude refuses full permissions to root unless IS_SANDBOX=1 is set, so the demo uses --permissions edit.")
    demo.tour(REAL_TASK, permissions)
    say("\nEach agent keeps its own record of its session, as always.")


class Demo:
    """Runs dev-sessions commands in one environment, and shows them."""

    def __init__(self, env: dict[str, str], project: Path) -> None:
        self.env, self.project = env, project
        self.group = f"demo-{os.urandom(3).hex()}"  # identifies the demo's own sessions
        self.steps = 0

    def tour(self, task: str, permissions: dict[str, str]) -> list[str]:
        """Run a session of each agent, with its permissions, from start to end; return the replies, sorted."""
        ids = {self.start(agent, wanted): NAMES[agent] for agent, wanted in permissions.items()}
        for id, name in ids.items():
            self.step(f"Give {name} a task. The command returns as soon as {name} has the message.", "send", id, task)
        self.step("List the sessions.", "list", "--group", self.group)
        self.step("Wait until both have finished.", "wait", *ids, "--timeout", "120")
        replies = [self.step(f"Read the reply of {name}.", "last-message", id) for id, name in ids.items()]
        self.step("List them again.", "list", "--group", self.group)
        self.step("End them, and everything that they started.", "kill", *ids)
        if self.own_sessions():
            raise Stop("a session is still listed after kill")
        return sorted(replies)

    def start(self, agent: str, permissions: str) -> str:
        """Create a session and return its id."""
        options = [] if permissions == "full" else ["--permissions", permissions]
        where = "in tmux" if agent == "claude" else "on its app-server, without a terminal"
        return self.step(
            f"Start {NAMES[agent]} {where}. The command returns when {NAMES[agent]} is ready for input.",
            *("create", "--cli", agent, "--description", "the demo", "--group", self.group, *options),
        ).split()[-1]

    def step(self, what: str, *words: str) -> str:
        """Show a step and its command, run it, show its output, and return its result."""
        self.steps += 1
        say(f"\n{self.steps}. {what}\n   $ dev-sessions {shlex.join(words)}")
        code, out, err = self.run(*words)
        for line in (out + err).splitlines():
            say(f"   {line}")
        if code:
            raise Stop(f"step {self.steps} ended with exit code {code}")
        return out.strip()

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run dev-sessions until it exits; return (exit code, standard output, standard error)."""
        # In its own session, so that Ctrl-C reaches only the demo, which forwards it once.
        process = subprocess.Popen(
            [PROGRAM, *words],
            env=self.env,
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=COMMAND_SECONDS)
        except (KeyboardInterrupt, subprocess.TimeoutExpired) as end:
            ignore_signals()  # a second Ctrl-C must not interrupt the cleanup
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=20)
            process.kill()
            process.wait()
            if isinstance(end, subprocess.TimeoutExpired):
                raise Stop(f"dev-sessions {words[0]} did not end within {COMMAND_SECONDS} s") from None
            raise
        return process.returncode, out, err

    def own_sessions(self) -> list[str]:
        code, out, _ = self.run("list", "--group", self.group, "--json")
        return [session["id"] for session in json.loads(out)] if code == 0 else []

    def clean_up(self, own_tmux: bool) -> None:
        """End what a failure left running; after a success there is nothing to end."""
        ignore_signals()
        left = self.own_sessions()
        if left:
            self.run("kill", *left)
        if own_tmux:  # the server in the temporary folder
            where = Path(self.env["TMUX_TMPDIR"]) / f"tmux-{os.getuid()}" / "default"
            subprocess.run(["tmux", "-S", where, "kill-server"], env=self.env, capture_output=True, check=False)


def ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
