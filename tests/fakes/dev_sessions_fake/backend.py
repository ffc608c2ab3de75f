"""The backend of the scripted agent of `program.py`: an ordinary implementation of `dev_sessions.backends.base`."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dev_sessions.backends import descendants
from dev_sessions.backends.base import (
    Answer,
    Conversation,
    Delivery,
    Launch,
    Observation,
    Places,
    Session,
    Sources,
    Wire,
)
from dev_sessions.backends.terminate import end
from dev_sessions.errors import (
    AgentExited,
    DeliveryFailed,
    DeliveryUnknown,
    LaunchFailed,
    QuestionGone,
    ScreenGone,
    TimedOut,
    TmuxError,
    WaitingForInput,
)
from dev_sessions.model import Entry, Fact, Message, Part, Probe, Question, Task
from dev_sessions.system import files, processes
from dev_sessions.system.waiting import Watcher
from dev_sessions.terminal.tmux import Tmux

# Longer texts go by file. Characters.
LIMIT = 100_000
# How long the program may take to end by itself, and then at all. Seconds.
STEPS = ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0))
# How often to check if no event comes. Seconds.
TICK = 0.2
# The errors that may end a delivery of a real backend, at any point.
_CUTS = {
    "tmux": TmuxError("tmux send-keys: not in a mode"),
    "gone": ScreenGone("the tmux session has ended"),
    "disk": OSError(28, "No space left on device", "paste.tmux"),
    "refused": DeliveryFailed("the agent does not take it"),
    "asks": WaitingForInput("the agent asks something"),
    "odd": ValueError("nobody has thought of this"),
}
# tmux gives the pane its own environment; only what describes the terminal goes on to the agent.
_CLEAN = 'exec env -i TERM="$TERM" TMUX="$TMUX" TMUX_PANE="$TMUX_PANE" /bin/sh "$0"'


class BareBackend:
    """A backend with the core verbs and no capabilities."""

    def check(self, environ: Mapping[str, str], environment: Mapping[str, str], permissions: str) -> None:
        Tmux(environ)

    def launch(self, launch: Launch) -> None:
        self._begin(launch, _script(launch))

    def _begin(self, launch: Launch, script: str) -> None:
        session = launch.session
        lives = _lives(session)
        tmux = Tmux(session.environ)
        launch.keep({"socket": tmux.expected_socket()})
        argv = ["/bin/sh", "-c", _CLEAN, script]
        socket, pane = tmux.new_session(_pane(session), argv, session.record["key"])
        launch.keep({"socket": socket, "pane": pane})
        until = time.monotonic() + launch.timeout
        with Watcher() as watcher:
            for path in (session.folder.path, session.folder.facts_path, session.folder.agent_path):
                watcher.watch_path(path)
            while _lives(session) == lives:
                self._see_through(launch, tmux, time.monotonic() >= until)
                watcher.wait(min(TICK, max(0.0, until - time.monotonic())))
        tmux.release(_pane(session))

    def _see_through(self, launch: Launch, tmux: Tmux, late: bool) -> None:
        """Wait for an agent that is not ready yet."""
        session, status = launch.session, _status(launch.session)
        if tmux.run("display-message", "-p", "-t", f"={_pane(session)}:", "#{pane_dead}", check=False).strip() != "0":
            # With its history: tmux scrolls the screen by a line to say that the pane is dead.
            shown = tmux.run("capture-pane", "-p", "-S", "-50", "-t", f"={_pane(session)}:", check=False)
            words = "\n".join(line for line in shown.splitlines() if line and not line.startswith("Pane is dead"))
            raise LaunchFailed(
                f"the agent ended while it was starting; its last words:\n{words}", next="start it again"
            )
        asked = str(status.get("detail") or "")
        if asked == "May I work in this folder?":
            if os.path.exists(_path(session, "answers", "start")):
                return
            files.write_whole(_path(session, "answers", "start"), b"yes" if launch.accepts else b"no")
            if launch.accepts:
                launch.say(f"told the agent that {launch.path} is trusted")
            else:
                launch.leave_out([".fake"])
        elif status.get("activity") == "waiting":
            session.folder.set_notice(asked, time.time())
            raise WaitingForInput(
                f"the agent asks: {asked}", next=f"dev-sessions attach {session.id} to answer", session=session.id
            )
        if late:
            raise LaunchFailed(f"the agent was not ready within {launch.timeout:g} s", next="start it again")

    def wire(self, text: str, path: str) -> Wire:
        return Wire("terminal", text) if len(text) <= LIMIT else Wire("file", f"[file] {path}")

    def deliver(self, session: Session, delivery: Delivery) -> None:
        message = delivery.message
        if _status(session).get("activity") == "waiting":
            raise WaitingForInput(f"{session.id} asks something", next=f"dev-sessions attach {session.id}")
        if message.attempted is None:
            delivery.attempt()
            _cut(message.wire, "before")
            files.write_json(_path(session, "inbox", _inbox(message)), {"text": message.wire})
            _cut(message.wire, "after")
        if not _await(session, lambda: self.received(session, message), delivery.timeout):
            raise DeliveryUnknown(
                f"no receipt from {session.id} within {delivery.timeout:g} s",
                next=f"dev-sessions status {session.id}; the same command with --request-id {message.request_id}",
                session=session.id,
                turn=message.number,
                request_id=message.request_id,
            )

    def received(self, session: Session, message: Message) -> bool:
        return any(fact.get("inbox") == _inbox(message) for fact in _facts(session))

    def observe(self, sessions: Sequence[Session]) -> list[Observation]:
        return [_observe(session) for session in sessions]

    def sources(self, session: Session) -> Sources:
        folder, process = session.folder, session.folder.process()
        arrivals = (folder.facts_path, folder.messages_path, folder.path)
        return Sources((folder.agent_path,), (process,) if process else (), arrivals)

    def history(self, session: Session, count: int, running: bool) -> list[Entry]:
        ended = {fact.get("prompt") for fact in _facts(session) if fact["kind"] == "ended"}
        entries = [Entry("assistant", one["text"], one["at"], one["prompt"]) for one in _said(session)]
        return [entry for entry in entries if not running or entry.prompt in ended][-count:]

    def conversation(self, session: Session) -> Conversation:
        return FakeConversation(session)

    def places(self, session: Session) -> Places:
        files = {"conversation": _path(session, "conversation.jsonl"), "script": _path(session, "start.sh")}
        terminal = {"socket": str(session.private.get("socket")), "session": _pane(session)}
        return Places(files, terminal, "1.0", bool(_facts(session)))

    def stop(self, session: Session) -> None:
        process = session.folder.process()
        known = descendants.found(session, process[0] if process and processes.is_running(*process) else 0)
        end([process] if process else [], *STEPS)
        Tmux(session.environ, session.private.get("socket")).kill_session(_pane(session), session.record["key"])
        descendants.end_all(session, known, *STEPS)

    def remove_secrets(self, session: Session) -> None:
        files.remove(_path(session, "start.sh"))


class FakeBackend(BareBackend):
    """A backend with all capabilities."""

    def interrupt(self, session: Session, timeout: float) -> None:
        files.write_whole(_path(session, "interrupt"), b"")
        if not _await(session, lambda: _status(session).get("activity") == "idle", timeout):
            raise TimedOut(f"the turn of {session.id} did not end", next=f"dev-sessions attach {session.id}")

    def respond(self, session: Session, question: Question, answer: Answer, timeout: float) -> None:
        said = answer.why if answer.decision == "deny" else " + ".join(", ".join(one) for one in answer.answers)
        path = _path(session, "answers", question.id)
        if os.path.exists(path):
            raise QuestionGone(f"{session.id} was answered already", next=f"dev-sessions wait {session.id}")
        files.write_whole(path, (said or answer.decision).encode())
        answered = {"kind": "answered", "text": question.id}
        if not _await(session, lambda: any(answered.items() <= fact.items() for fact in _facts(session)), timeout):
            raise DeliveryUnknown(f"{session.id} goes on waiting", next=f"dev-sessions status {session.id}")

    def revive(self, launch: Launch) -> None:
        session = launch.session
        self.stop(session)
        for name in ("status.json", "interrupt", *(os.path.join("inbox", name) for name in _inbox_names(session))):
            if os.path.exists(_path(session, name)):
                os.unlink(_path(session, name))
        script = _path(session, "start.sh")
        try:
            self._begin(launch, script if os.path.exists(script) else _script(launch))
        except LaunchFailed:
            self.stop(session)
            raise

    def attach_command(self, session: Session) -> list[str]:
        tmux = Tmux(session.environ, session.private.get("socket"))
        return tmux.command("attach-session", "-t", f"={_pane(session)}")


class FakeConversation:
    """The prompts and replies of the agent, by time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._given = 0

    def new(self) -> Iterator[Entry]:
        # First the answers: a prompt is there before its answer is.
        said = [Entry("assistant", one["text"], one["at"], one["prompt"]) for one in _said(self._session)]
        taken = [fact for fact in _facts(self._session) if fact["kind"] == "accepted"]
        heard = [Entry("user", fact["text"], fact["at"], fact.get("prompt")) for fact in taken]
        for entry in sorted([*heard, *said], key=lambda entry: entry.at)[self._given :]:
            self._given += 1
            yield entry

    def rest(self) -> Iterator[Entry]:
        return iter(())

    def paths(self) -> tuple[str, ...]:
        return (self._session.folder.agent_path, _path(self._session, "conversation.jsonl"))

    def close(self) -> None:
        pass


def _said(session: Session) -> list[dict[str, Any]]:
    try:
        with open(_path(session, "conversation.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def _script(launch: Launch) -> str:
    """The script that the pane runs: the agent's environment, its folder, the program."""
    argv = [sys.executable, "-m", "dev_sessions_fake.program", launch.session.folder.path]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in sorted(launch.environment.items())]
    lines = [*exports, f"cd -- {shlex.quote(launch.path)} || exit 1", f"exec {shlex.join(argv)}", ""]
    path = os.path.join(launch.session.folder.agent_path, "start.sh")
    files.write_whole(path, "\n".join(lines).encode())
    return path


def _pane(session: Session) -> str:
    return f"dev-{session.id}"


def _inbox(message: Message) -> str:
    return f"{message.number:04d}.json"


def _inbox_names(session: Session) -> list[str]:
    return os.listdir(_path(session, "inbox")) if os.path.isdir(_path(session, "inbox")) else []


def _lives(session: Session) -> int:
    """How many times the program has reported its start."""
    return sum(fact["kind"] == "alive" for fact in _facts(session))


def _path(session: Session, *parts: str) -> str:
    return os.path.join(session.folder.agent_path, *parts)


def _status(session: Session) -> dict[str, Any]:
    return files.read_json(_path(session, "status.json")) or {}


def _facts(session: Session) -> list[dict[str, Any]]:
    """The program's reports, in their order."""
    return [json.loads(payload.content) for payload in sorted(session.folder.facts(), key=lambda one: one.name)]


def _observe(session: Session) -> Observation:
    # The status first: it is written last, so whatever it follows from is among the facts by then.
    probe = _probe(session)
    return Observation([_fact(fields) for fields in _facts(session)], probe)


def _fact(fields: dict[str, Any]) -> Fact:
    known = {name: value for name, value in fields.items() if name in Fact._fields and name != "question"}
    if fields.get("kind") == "ended":
        left = tuple(Task(*one) for one in fields.get("left", ()))
        known |= {"left": left, "subagents": tuple(fields.get("subagents", ()))}
    asked = fields.get("question")
    if asked is None:
        return Fact(**known)
    options = tuple(asked["options"])
    parts = (Part(asked["text"], options),) if asked["kind"] == "question" else ()
    return Fact(**known, question=Question(**{**asked, "options": options, "since": fields["at"], "parts": parts}))


def _probe(session: Session) -> Probe:
    now, process, status = time.time(), session.folder.process(), _status(session)
    if process is None:
        if session.being_created:
            return Probe(now, True, "busy", now)
        return Probe(now, False, detail="the agent was never started")
    if not processes.is_running(*process):
        return Probe(now, False, detail="the agent's process is gone")
    probe = Probe(now, True, status.get("activity"), float(status.get("since", 0.0)), status.get("detail"))
    probe = probe._replace(background=bool(status.get("background")))
    if probe.activity == "waiting" and probe.detail:
        return probe._replace(question=Question("start", "dialog", probe.detail, (), probe.since))
    return probe


def _cut(text: str, when: str) -> None:
    """Interrupt a delivery before or after the program can take it, as `[[cut: ERROR before]]` in its text asks."""
    found = re.search(r"\[\[cut: (\w+) (\w+)\]\]", text)
    if found is None or found[2] != when:
        return
    if found[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if found[1] == "interrupt":
        raise KeyboardInterrupt
    raise _CUTS[found[1]]


def _await(session: Session, there: Callable[[], bool], seconds: float) -> bool:
    """Wait for something that the program does; False if `seconds` passed first.

    Raises:
        AgentExited: the program has ended.
    """
    until = time.monotonic() + seconds
    process = session.folder.process()
    with Watcher() as watcher:
        for path in (session.folder.facts_path, session.folder.agent_path):
            watcher.watch_path(path)
        if process:
            watcher.watch_process(*process)
        while not there():
            if process is None or not processes.is_running(*process):
                if there():
                    return True
                raise AgentExited(f"the agent of {session.id} is gone", next=f"dev-sessions kill {session.id}")
            if time.monotonic() >= until:
                return False
            watcher.wait(min(TICK, max(0.0, until - time.monotonic())))
    return True
