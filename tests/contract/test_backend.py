"""The contract of a backend: the same body against every backend that an agent program can be scripted for.

To add a backend: an entry in `KITS` that says how its agent is told to do the things that the contract is about.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from codex_exchange import Line
from lab import Lab, codex_stand_in

import dev_sessions
from dev_sessions.backends import GROUP, load
from dev_sessions.backends.base import (
    Answer,
    Attaches,
    Backend,
    Conversation,
    Delivery,
    Goals,
    Interrupts,
    Launch,
    Listens,
    Responds,
    Revives,
    Session,
    Sleeps,
    capabilities,
)
from dev_sessions.backends.codex import thread_lock
from dev_sessions.errors import (
    AgentExited,
    DeliveryUnknown,
    LaunchFailed,
    QuestionGone,
    TimedOut,
    UsageError,
    WaitingForInput,
)
from dev_sessions.model import State
from dev_sessions.service.context import with_revivals
from dev_sessions.state.folder import Folder
from dev_sessions.system import processes
from dev_sessions.system.waiting import Watcher
from dev_sessions.turns import reduce

SECONDS = 30.0
SETTLED = 7.0


class Kit(NamedTuple):
    """The script of one backend's agent, and its properties.

    Attributes:
        dies_at_start, asks_at_start: environments in which it does; None if it never asks.
        missing: what is said on a machine that lacks what it needs.
        shipped: it is part of dev-sessions.
        own_process: each session's agent is a process, and the session ends with it. (Else a server has them all, and
            is started again when it is needed.)
        terminal: its agent lives in one.
    """

    name: str
    capabilities: list[str]
    dies_at_start: dict[str, str]
    asks_at_start: dict[str, str] | None = None
    missing: str = "tmux is not installed"
    shipped: bool = False
    own_process: bool = True
    terminal: bool = True

    def environment(self, lab: Lab, folder: Path) -> dict[str, str]:
        """The caller's environment; `folder` is the test's own."""
        return lab.env

    def processes(self, session: Session) -> tuple[tuple[int, str], ...]:
        """Whose end is the agent's."""
        process = session.folder.process()
        assert process is not None
        return (process,)

    def spoken(self, session: Session) -> str:
        """What the agent has written down of its own words."""
        return Path(session.folder.agent_path, "conversation.jsonl").read_text()

    def address(self, session: Session) -> str:
        """By what a terminal finds the session."""
        return session.id

    def type(self, lab: Lab, session: Session, text: str) -> None:
        """Say it as a person would, and not as a message of ours."""
        lab.keys(session.id, text, "Enter")

    @staticmethod
    def reply(text: str) -> str:
        return f"[[reply: {text}]]"

    @staticmethod
    def hold(name: str, rest: str = "") -> str:
        return f"[[hold: {name}]]{rest}"

    @staticmethod
    def ask(text: str, *options: str) -> str:
        return f"[[ask: {'|'.join((text, *options))}]]"

    @staticmethod
    def may(text: str) -> str:
        """The agent asks for permission, if it must, and replies with the result."""
        return f"[[may: {text}]][[replytool]]"

    @staticmethod
    def fail(text: str) -> str:
        return f"[[error: {text}]]"

    @staticmethod
    def die() -> str:
        return "[[die]]"

    @staticmethod
    def silent(name: str) -> str:
        """A prompt that the agent takes without reporting it until `name` is released."""
        return f"[[late: {name}]]"

    @staticmethod
    def unreachable() -> str:
        """A prompt during which the agent's model is unreachable."""
        return "[[unreachable]]"

    @staticmethod
    def run(command: str) -> str:
        return f"[[bash: {command}]][[replytool]]"

    @staticmethod
    def background(command: str) -> str:
        return f"[[bash_bg: {command}]]"

    def release(self, session: Session, name: str) -> None:
        Path(session.folder.agent_path, "release", name).touch()

    def answer(self, session: Session, question: str, label: str) -> None:
        Path(session.folder.agent_path, "answers", question).write_text(label)

    @property
    def dead(self) -> str:
        """The error of a session whose agent was killed."""
        return "exited" if self.own_process else "idle"

    @property
    def cut(self) -> str:
        """The error of a turn whose agent was killed."""
        return "exited" if self.own_process else "interrupted"

    @contextmanager
    def spoiled(self, session: Session) -> Iterator[None]:
        """Make the agent fail at its next start."""
        script = Path(session.folder.agent_path, "start.sh")
        kept = script.read_text()
        script.write_text(f"export FAKE_START='{self.dies_at_start['FAKE_START']}'\n{kept}")
        yield
        script.write_text(kept)


class CodexKit(Kit):
    """The fake program `codex`, with its own CODEX_HOME, and so its own server, for each test."""

    __slots__ = ()

    def environment(self, lab: Lab, folder: Path) -> dict[str, str]:
        return {**lab.env, **codex_stand_in(lab, folder)}

    @staticmethod
    def may(text: str) -> str:
        return f"[[bash: echo '{text}']][[replytool]]"

    def processes(self, session: Session) -> tuple[tuple[int, str], ...]:
        (note,) = Path(session.environ["DEV_SESSIONS_HOME"]).glob("codex/*/daemon.json")
        noted = json.loads(note.read_text())
        return ((noted["pid"], processes.start_time_in(noted["stat"]) or ""),)

    def spoken(self, session: Session) -> str:
        lines = Path(session.private["rollout"]).read_text().splitlines()
        return "\n".join(line for line in lines if '"AgentMessage"' in line)

    def address(self, session: Session) -> str:
        return str(session.private["thread"])

    def type(self, lab: Lab, session: Session, text: str) -> None:
        with self._line(session) as line:
            line.ask("turn/start", threadId=self.address(session), input=[{"type": "text", "text": text}])

    def release(self, session: Session, name: str) -> None:
        Path(session.private["home"], "fake", self.address(session), "release", name).touch()

    @contextmanager
    def spoiled(self, session: Session) -> Iterator[None]:
        settings = Path(session.folder.agent_path, "thread.json")
        kept = settings.read_text()
        settings.write_text(json.dumps({"environment": {**json.loads(kept)["environment"], **self.dies_at_start}}))
        yield
        settings.write_text(kept)

    def answer(self, session: Session, question: str, label: str) -> None:
        with self._line(session) as line:
            line.ask("thread/resume", threadId=self.address(session), excludeTurns=True)
            asked = line.notice("item/tool/requestUserInput")
            assert question == f"{asked['params']['itemId']}.{asked['id']}"
            line.answer(asked, {"answers": {"choice": {"answers": [label]}}})
            line.notice("serverRequest/resolved")

    @contextmanager
    def poised(self, session: Session, label: str) -> Iterator[Callable[[], None]]:
        """A person who has seen the question and only needs to press the key."""
        with self._line(session) as line:
            line.ask("thread/resume", threadId=self.address(session), excludeTurns=True)
            asked = line.notice("item/tool/requestUserInput")
            yield lambda: line.answer(asked, {"answers": {"choice": {"answers": [label]}}})

    @staticmethod
    def _line(session: Session) -> Line:
        return Line(os.path.join(session.private["home"], "app-server-control", "app-server-control.sock"))


DIES, ASKS = {"FAKE_START": "die: no licence"}, {"FAKE_START": "dialog: Is that so?"}
KITS = [
    Kit("fake", ["attach", "interrupt", "respond", "revive"], DIES, ASKS),
    Kit("fake-bare", [], DIES, ASKS),
    CodexKit(
        "codex",
        ["attach", "goal", "interrupt", "respond", "revive"],
        DIES,
        missing="Codex is not installed",
        shipped=True,
        own_process=False,
        terminal=False,
    ),
]


def those(wanted: Callable[[Kit], object]) -> pytest.MarkDecorator:
    """Run a test for some of the backends."""
    return pytest.mark.parametrize("desk", list(filter(wanted, KITS)), indirect=True, ids=lambda kit: kit.name)


def able_to(capability: str) -> pytest.MarkDecorator:
    """Run a test for the backends that have a capability."""
    return those(lambda kit: capability in kit.capabilities)


class Desk:
    """One backend and what its caller does: folders, records, acts."""

    def __init__(self, kit: Kit, lab: Lab, folder: Path) -> None:
        self.kit, self.lab, self.folder = kit, lab, folder / "state" / "sessions"
        self.folder.mkdir(parents=True)
        self.env = {**kit.environment(lab, folder), "DEV_SESSIONS_HOME": str(folder / "state")}
        self.backend: Backend = load(kit.name)
        self.sessions: list[Session] = []
        self.attempts: list[int] = []
        self.notes: list[str] = []

    def session(self) -> Session:
        """A session that is not started yet."""
        key = f"{self.kit.name}-{os.urandom(4).hex()}"
        record: dict[str, Any] = {
            "id": key,
            "key": key,
            "path": str(self.lab.project),
            "cli": self.kit.name,
            "backend": {},
            "creator": {"pid": os.getpid(), "started": processes.start_time(os.getpid())},
        }
        folder = Folder(str(self.folder / key))
        folder.make()
        made = Session(record, folder, self.env)
        self.sessions.append(made)
        return made

    def start(self, **more: Any) -> Session:
        session = self.session()
        self.launch(session, **more)
        return session

    def launch(self, session: Session, environ: dict[str, str] | None = None, **more: Any) -> None:
        self.backend.launch(self.plan(session, environ, **more))

    def plan(self, session: Session, environ: dict[str, str] | None = None, **more: Any) -> Launch:
        key = {"DEV_SESSIONS_KEY": session.record["key"]}
        wanted = {
            "session": session,
            "path": str(self.lab.project),
            "permissions": "full",
            "model": None,
            "environment": {**self.env, **key, **(environ or {})},
            "trust": True,
            "timeout": SECONDS,
            "say": self.notes.append,
            "keep": lambda private: session.record.update(backend=private),
            "leave_out": lambda names: session.record.update(left_out=names),
        }
        return Launch(**{**wanted, **more})

    def revive(self, session: Session, **more: Any) -> None:
        """Restart the agent as the service does; it gets `environ` if its own environment is lost."""
        assert isinstance(self.backend, Revives)
        session.folder.set_revivals([*session.folder.revivals(), time.time()])
        self.backend.revive(self.plan(session, **more))

    def end(self, session: Session) -> None:
        """The agent is killed."""
        killed = self.kit.processes(session)
        for process in killed:
            processes.send_signal(*process, signal.SIGKILL)
        self.until(session, lambda state: not any(processes.is_running(*process) for process in killed))
        self.until(session, lambda state: state.status == self.kit.dead)

    def send(self, session: Session, text: str, timeout: float = SECONDS) -> int:
        """Claim, deliver and note a message, as the service does; returns its number."""
        number = session.folder.next_number()
        wire = self.backend.wire(text, session.folder.text_path(number))
        claim = {"request_id": str(number), "created": time.time(), "via": wire.via, "wire": wire.text}
        session.folder.claim_message(number, text, claim)
        self.deliver(session, number, timeout)
        return number

    def deliver(self, session: Session, number: int, timeout: float = SECONDS) -> None:
        def attempt() -> None:
            self.attempts.append(number)
            session.folder.note(number, "attempt", {"at": time.time()})

        message = session.folder.message(number)
        assert message is not None
        self.backend.deliver(session, Delivery(message, timeout, attempt, self.notes.append))
        session.folder.note(number, "receipt", {"receipt": "started", "at": time.time()})

    def received(self, session: Session, number: int) -> bool:
        message = session.folder.message(number)
        assert message is not None
        return self.backend.received(session, message)

    def state(self, session: Session) -> State:
        messages = session.folder.messages()
        (seen,) = self.backend.observe([session])
        seen = with_revivals(session, seen)
        return reduce(messages, seen.facts, seen.probe)

    def until(self, session: Session, condition: Callable[[State], bool]) -> State:
        """The first state that fulfils a condition, with nothing but the backend's sources to wake us up.

        Soon after they did, time alone may bring about more (see the graces of `turns`).
        """
        end, moved = time.monotonic() + SECONDS, time.monotonic()
        with Watcher() as watcher:
            while True:
                sources = self.backend.sources(session)
                for path in sources.paths:
                    watcher.watch_path(path)
                for process in sources.processes:
                    watcher.watch_process(*process)
                state = self.state(session)
                if condition(state):
                    return state
                settling = time.monotonic() - moved < SETTLED
                if watcher.wait(1.0 if settling else end - time.monotonic()):
                    moved = time.monotonic()
                assert time.monotonic() < end, f"no source told of a change; last seen: {state}"

    def settled(self, session: Session) -> State:
        return self.until(session, lambda state: not any(turn.open for turn in state.turns))

    def close(self) -> None:
        for session in self.sessions:
            self.backend.stop(session)


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def desk(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(request.param, lab, tmp_path)
    yield made
    made.close()


def outcomes(state: State) -> list[tuple[int, str, str | None]]:
    return [(turn.number, turn.state, turn.reply) for turn in state.turns]


# How a backend is found, and what it says it can do.


@those(lambda kit: not kit.shipped)
def test_it_is_registered_by_entry_point(desk: Desk) -> None:
    (point,) = entry_points(group=GROUP, name=desk.kit.name)
    assert isinstance(desk.backend, point.load())


@those(lambda kit: not kit.shipped)
def test_dev_sessions_neither_holds_nor_names_it(desk: Desk) -> None:
    (point,) = entry_points(group=GROUP, name=desk.kit.name)
    assert point.dist is not None
    assert point.dist.name != "dev-sessions"
    for path in Path(dev_sessions.__file__).parent.rglob("*.py"):
        assert point.module.partition(".")[0] not in path.read_text()
        assert f'"{desk.kit.name}"' not in path.read_text()


def test_its_capabilities_are_what_it_implements(desk: Desk) -> None:
    assert capabilities(desk.backend) == desk.kit.capabilities
    assert isinstance(desk.backend, Interrupts) == ("interrupt" in desk.kit.capabilities)
    assert isinstance(desk.backend, Attaches) == ("attach" in desk.kit.capabilities)
    assert isinstance(desk.backend, Revives) == ("revive" in desk.kit.capabilities)


def test_an_unknown_agent_is_refused_with_the_known_names() -> None:
    with pytest.raises(UsageError) as caught:
        load("nobody")
    assert "'nobody'" in caught.value.message
    for name in ("claude", *(kit.name for kit in KITS)):
        assert name in caught.value.message


def test_check_refuses_a_machine_that_lacks_the_program(desk: Desk, tmp_path: Path) -> None:
    desk.backend.check(desk.env, desk.env, "full")
    bare = {**desk.lab.env, "PATH": str(tmp_path / "empty")}
    with pytest.raises(Exception, match=desk.kit.missing):
        desk.backend.check(bare, bare, "full")


# launch, stop


def test_launch_returns_when_the_agent_is_ready(desk: Desk) -> None:
    session = desk.start()
    assert all(processes.is_running(*process) for process in desk.kit.processes(session))
    state = desk.state(session)
    assert (state.status, state.turns, state.turn, state.question) == ("idle", (), None, None)
    assert session.private, "stop has to find the agent again by what was kept"


def test_a_session_being_created_differs_from_one_whose_creator_died(desk: Desk) -> None:
    session = desk.session()
    assert desk.state(session).status == "working"  # its creator is running: it is being created
    session.record["creator"] = {"pid": os.getpid(), "started": "another process"}
    assert desk.state(session).status == "exited"


def test_launch_uses_the_given_folder_and_environment(desk: Desk, tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s a "folder" with ünicode'
    odd.mkdir()
    mark = "a 'quoted' $value\n with a line feed"
    session = desk.start(path=str(odd), environ={"MARK": mark})
    desk.send(session, desk.kit.run('pwd; echo "$MARK"; echo "$DEV_SESSIONS_KEY"'))
    (turn,) = desk.settled(session).turns
    assert (turn.reply or "").rstrip() == f"{odd}\n{mark}\n{session.record['key']}"


def test_an_agent_that_dies_at_its_start_is_a_launch_failure_with_its_output(desk: Desk) -> None:
    session = desk.session()
    with pytest.raises(LaunchFailed, match="no licence"):
        desk.launch(session, environ=desk.kit.dies_at_start)
    desk.backend.stop(session)
    assert desk.lab.tmux("has-session", "-t", f"=dev-{session.id}") == ""
    assert not alive(desk, session)


@those(lambda kit: kit.asks_at_start)
def test_an_agent_that_asks_at_its_start_is_kept_and_its_question_reported(desk: Desk) -> None:
    session = desk.session()
    with pytest.raises(WaitingForInput, match="Is that so"):
        desk.launch(session, environ=desk.kit.asks_at_start)
    state = desk.state(session)
    assert state.status == "waiting_for_input"
    assert state.question is not None
    assert state.question.kind == "dialog"
    assert "Is that so?" in state.question.text


def test_stop_ends_the_agent_and_everything_it_left_running(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.background("setsid python3 -c 'import time; time.sleep(600)'"))
    desk.settled(session)
    assert len(alive(desk, session)) > int(desk.kit.own_process)
    desk.backend.stop(session)
    assert alive(desk, session) == []
    assert session.id not in desk.lab.tmux("list-sessions")
    assert desk.state(session).status == "exited"
    desk.backend.stop(session)  # once more, of what is gone already


def test_stop_of_a_session_that_never_started(desk: Desk) -> None:
    desk.backend.stop(desk.session())


def alive(desk: Desk, session: Session) -> list[int]:
    """The pids of all processes of a session."""
    mark = f"DEV_SESSIONS_KEY={session.record['key']}".encode()
    return [pid for pid, _ in processes.family(0, mark)]


# deliver, observe


def test_a_message_becomes_a_turn_with_its_reply(desk: Desk) -> None:
    session = desk.start()
    assert desk.send(session, desk.kit.hold("a", desk.kit.reply("done"))) == 1
    assert desk.attempts == [1]
    assert desk.received(session, 1)
    state = desk.state(session)
    assert (state.status, state.turn, outcomes(state)) == ("working", 1, [(1, "working", None)])
    desk.kit.release(session, "a")
    state = desk.settled(session)
    assert (state.turn, outcomes(state)) == (1, [(1, "completed", "done")])
    assert desk.until(session, lambda state: state.status == "idle")


@pytest.mark.parametrize(
    "text", ["-n", "/help", "a\tb\r\nc", "cafe\u0301 \U0001f600", "'\"\\;$(x)`", " lead and trail "]
)
def test_any_text_arrives_unchanged(desk: Desk, text: str) -> None:
    session = desk.start()
    desk.send(session, text)
    assert outcomes(desk.settled(session)) == [(1, "completed", text)]


def test_a_long_message_arrives_whole(desk: Desk) -> None:
    session = desk.start()
    text = "0123456789 äöü \n" * 330_000
    desk.send(session, text)
    (turn,) = desk.settled(session).turns
    assert turn.reply == text


def test_the_same_text_twice_is_two_turns_in_order(desk: Desk) -> None:
    session = desk.start()
    for _ in range(2):
        desk.send(session, desk.kit.hold("a", desk.kit.reply("same")))
    state = desk.state(session)
    assert outcomes(state) == [(1, "working", None), (2, "working", None)]
    desk.kit.release(session, "a")
    state = desk.settled(session)
    assert outcomes(state) == [(1, "completed", "same"), (2, "completed", "same")]
    assert (state.turns[0].ended or 0) <= (state.turns[1].ended or 0)


def test_the_same_text_again_after_the_first_turn(desk: Desk) -> None:
    session = desk.start()
    for number in (1, 2):
        assert desk.send(session, desk.kit.reply("same")) == number
        assert outcomes(desk.settled(session)) == [(one, "completed", "same") for one in range(1, number + 1)]


def test_a_message_without_a_receipt_is_unknown_and_not_delivered_twice(desk: Desk) -> None:
    session = desk.start()
    with pytest.raises(DeliveryUnknown):
        desk.send(session, prompt := desk.kit.silent("a") + desk.kit.reply("late"), timeout=0.2)
    assert desk.attempts == [1]
    assert not desk.received(session, 1)
    with pytest.raises(DeliveryUnknown):
        desk.deliver(session, 1, timeout=0.2)  # as the same request id again does
    desk.kit.release(session, "a")
    desk.deliver(session, 1)
    assert desk.received(session, 1)
    assert desk.attempts == [1]
    assert outcomes(desk.settled(session)) == [(1, "completed", "late")]
    conversation = desk.backend.conversation(session)
    assert talk(conversation) == [("user", prompt), ("assistant", "late")]
    conversation.close()


def test_a_message_to_a_busy_agent_is_not_delivered_twice(desk: Desk) -> None:
    """The same request again; its first sender died before it could note that the agent had the message."""
    session = desk.start()
    prompts = [desk.kit.hold("a", desk.kit.reply("one")), desk.kit.reply("two")]
    for prompt in prompts:
        desk.send(session, prompt)
    assert desk.received(session, 2)
    desk.deliver(session, 2)
    desk.kit.release(session, "a")
    assert [turn.state for turn in desk.settled(session).turns] == ["completed"] * 2
    conversation = desk.backend.conversation(session)
    assert [text for role, text in talk(conversation) if role == "user"] == prompts
    conversation.close()
    assert desk.attempts == [1, 2]


def test_a_failed_turn_has_its_error(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.fail("no credit"))
    (turn,) = desk.settled(session).turns
    assert (turn.state, turn.reply) == ("failed", None)
    assert turn.error is not None
    assert "no credit" in turn.error


@those(lambda kit: kit.own_process)
def test_an_agent_that_dies_ends_its_turn_and_its_session(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.die())
    state = desk.settled(session)
    assert (state.status, outcomes(state)) == ("exited", [(1, "exited", None)])
    assert state.error
    with pytest.raises(AgentExited):
        desk.send(session, "hello?")


@those(lambda kit: not kit.own_process)
def test_a_server_that_dies_ends_its_turns_and_is_restarted_for_the_next(desk: Desk) -> None:
    session, other = desk.start(), desk.start()
    desk.send(other, desk.kit.hold("never"))
    desk.send(session, desk.kit.die())
    for one in (session, other):
        state = desk.settled(one)
        assert (state.status, outcomes(state)) == ("idle", [(1, "interrupted", None)])
    before = desk.kit.processes(session)
    desk.send(session, desk.kit.reply("back"))
    assert outcomes(desk.settled(session))[1:] == [(2, "completed", "back")]
    assert desk.kit.processes(session) != before
    assert desk.state(other).status == "idle"


def test_an_open_question_is_complete_until_it_is_answered(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.ask("Which one?", "this", "that") + desk.kit.reply("thanks"))
    state = desk.until(session, lambda state: state.status == "waiting_for_input")
    question = state.question
    assert question is not None
    assert (question.kind, question.text, question.options) == ("question", "Which one?", ("this", "that"))
    assert outcomes(state) == [(1, "waiting_for_input", None)]
    assert desk.state(session).question == question  # the same id, as long as it is open
    with pytest.raises(WaitingForInput):
        desk.send(session, "not an answer")
    desk.kit.answer(session, question.id, "this")
    state = desk.until(session, lambda state: state.status == "idle")
    assert state.question is None
    assert outcomes(state)[0] == (1, "completed", "thanks")


def test_background_work_is_counted_until_it_ends(desk: Desk, tmp_path: Path) -> None:
    session, gate = desk.start(), tmp_path / "gate"
    os.mkfifo(gate)
    desk.send(session, desk.kit.background(f"cat '{gate}'") + desk.kit.reply("left it"))
    state = desk.until(session, lambda state: state.status == "idle")
    assert (state.background, outcomes(state)) == (1, [(1, "completed", "left it")])
    gate.write_text("over")
    state = desk.until(session, lambda state: state.background == 0 and state.status == "idle")
    assert outcomes(state) == [(1, "completed", "left it")]


def test_many_sessions_are_observed_at_once(desk: Desk) -> None:
    first, second = desk.start(), desk.start()
    desk.send(second, desk.kit.hold("a"))
    seen = desk.backend.observe([first, second, first])
    assert [one.probe.running for one in seen] == [True, True, True]
    assert [any(fact.kind == "accepted" for fact in one.facts) for one in seen] == [False, True, False]
    assert desk.backend.observe([]) == []


# sources


def test_sources_are_existing_paths_and_processes(desk: Desk) -> None:
    session = desk.start()
    sources = desk.backend.sources(session)
    assert sources.paths
    assert all(os.path.exists(path) for path in sources.paths)
    assert set(sources.processes) == set(desk.kit.processes(session))


def test_a_change_wakes_a_waiter_without_a_tick(desk: Desk) -> None:
    """`Desk.until` waits for the sources alone; here another thread makes the change meanwhile."""
    session = desk.start()
    desk.send(session, desk.kit.hold("a", desk.kit.reply("done")))
    releasing = threading.Timer(0.1, desk.kit.release, (session, "a"))
    releasing.start()
    assert outcomes(desk.settled(session)) == [(1, "completed", "done")]
    releasing.join()


# history


def test_history_returns_the_last_texts_oldest_first(desk: Desk) -> None:
    session = desk.start()
    assert desk.backend.history(session, 5, False) == []
    for text in ("one", "two", "three"):
        desk.send(session, desk.kit.reply(text))
        desk.settled(session)
    entries = desk.backend.history(session, 2, False)
    assert [(entry.role, entry.text) for entry in entries] == [("assistant", "two"), ("assistant", "three")]
    assert [entry.text for entry in desk.backend.history(session, 9, False)] == ["one", "two", "three"]


def test_history_omits_the_running_turn(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.reply("before"))
    desk.settled(session)
    desk.send(session, desk.kit.reply("half") + desk.kit.hold("a"))
    desk.lab.until(lambda: "half" in desk.kit.spoken(session), "the agent has said it")
    assert [entry.text for entry in desk.backend.history(session, 9, True)] == ["before"]
    desk.kit.release(session, "a")
    desk.settled(session)
    assert [entry.text for entry in desk.backend.history(session, 9, False)] == ["before", "half"]


def test_history_works_after_the_agent_has_exited(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.reply("last words"))
    desk.settled(session)
    desk.backend.stop(session)
    assert [entry.text for entry in desk.backend.history(session, 1, False)] == ["last words"]


# conversation


def talk(conversation: Conversation) -> list[tuple[str, str]]:
    """The role and text of each entry since the last call."""
    return [(entry.role, entry.text) for entry in conversation.new() if entry.kind == "message"]


def test_a_conversation_continues_after_the_last_entry_read(desk: Desk) -> None:
    session = desk.start()
    conversation = desk.backend.conversation(session)
    assert talk(conversation) == []
    for text in ("one", "two"):
        prompt = desk.kit.reply(text)
        desk.send(session, prompt)
        desk.settled(session)
        said = talk(conversation) + [(entry.role, entry.text) for entry in conversation.rest()]
        assert said == [("user", prompt), ("assistant", text)]
    assert talk(conversation) == []
    again = desk.backend.conversation(session)
    assert [text for role, text in talk(again) if role == "assistant"] == ["one", "two"]
    for each in (conversation, again):
        each.close()


def test_a_conversation_wakes_a_watcher_of_its_paths(desk: Desk) -> None:
    session = desk.start()
    conversation = desk.backend.conversation(session)
    desk.send(session, desk.kit.hold("a") + desk.kit.reply("late"))
    end = time.monotonic() + SECONDS
    with Watcher() as watcher:
        found = talk(conversation)
        for path in (*desk.backend.sources(session).paths, *conversation.paths()):
            watcher.watch_path(path)
        desk.kit.release(session, "a")
        while ("assistant", "late") not in found:
            assert watcher.wait(max(0.0, end - time.monotonic()))
            found += talk(conversation)
    conversation.close()


def test_a_conversation_outlives_the_agent_and_its_entries_have_their_turn(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.reply("last words"))
    turn = desk.settled(session).turns[0]
    desk.backend.stop(session)
    conversation = desk.backend.conversation(session)
    entries = [entry for entry in conversation.new() if entry.kind == "message"]
    conversation.close()
    assert [entry.text for entry in entries] == [desk.kit.reply("last words"), "last words"]
    assert {entry.prompt for entry in entries} == {turn.prompt}
    assert turn.began <= entries[0].at <= entries[1].at


# places


def test_places_name_files_and_a_terminal_that_exist(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.reply("written"))
    desk.settled(session)
    places = desk.backend.places(session)
    assert places.files
    assert all(os.path.exists(path) for path in places.files.values())
    assert places.reported
    assert (places.terminal is not None) == desk.kit.terminal
    if places.terminal is not None:
        assert os.path.exists(places.terminal["socket"])
        assert places.terminal["session"] in desk.lab.tmux("list-sessions", "-F", "#{session_name}").splitlines()
    desk.backend.stop(session)
    after = desk.backend.places(session)
    assert after.files.keys() == places.files.keys()
    assert any("written" in Path(path).read_text() for path in after.files.values() if os.path.isfile(path))


def test_places_of_a_session_that_never_started(desk: Desk) -> None:
    places = desk.backend.places(desk.session())
    assert not places.reported
    assert all(os.path.isabs(path) for path in places.files.values())


# Capabilities.


@able_to("interrupt")
def test_interrupt_ends_the_running_turn(desk: Desk) -> None:
    assert isinstance(desk.backend, Interrupts)
    session = desk.start()
    desk.send(session, desk.kit.reply("half") + desk.kit.hold("never"))
    desk.backend.interrupt(session, SECONDS)
    state = desk.state(session)
    assert (state.status, outcomes(state)) == ("idle", [(1, "interrupted", None)])
    desk.send(session, desk.kit.reply("on"))
    assert outcomes(desk.settled(session))[1] == (2, "completed", "on")


@those(lambda kit: isinstance(kit, CodexKit))
def test_interrupt_ends_commands_of_the_turn_but_not_of_earlier_ones(desk: Desk) -> None:
    assert isinstance(desk.backend, Interrupts)
    session = desk.start()
    desk.send(session, desk.kit.background("exec python3 -c 'import time; time.sleep(600)'"))
    desk.settled(session)
    (earlier,) = alive(desk, session)
    away, here = (f"python3 -c 'import time; time.sleep(600) # {name}'" for name in ("away", "here"))
    desk.send(session, desk.kit.run(f"setsid -f {away}; {here}"))

    def programs() -> list[str]:
        return [Path(f"/proc/{pid}/cmdline").read_text() for pid in alive(desk, session)]

    started = (
        "python3\0-c\0import time; time.sleep(600) # away\0",
        "python3\0-c\0import time; time.sleep(600) # here\0",
    )
    desk.lab.until(lambda: set(started) <= set(programs()), "the commands of the second turn")
    desk.backend.interrupt(session, SECONDS)
    assert alive(desk, session) == [earlier]
    assert outcomes(desk.state(session))[1] == (2, "interrupted", None)


@able_to("interrupt")
def test_a_turn_that_goes_on_was_not_interrupted(desk: Desk) -> None:
    """The agent accepts the interrupt but does not stop."""
    assert isinstance(desk.backend, Interrupts)
    session = desk.start()
    desk.send(session, "[[deaf: on]]" + desk.kit.reply("done"))
    with pytest.raises(TimedOut, match=session.id) as caught:
        desk.backend.interrupt(session, 0.3)
    assert session.id in caught.value.data["next"]
    assert desk.state(session).status == "working"
    desk.kit.release(session, "on")
    desk.settled(session)


@able_to("interrupt")
def test_interrupt_ends_a_question(desk: Desk) -> None:
    assert isinstance(desk.backend, Interrupts)
    session = desk.start()
    desk.send(session, desk.kit.ask("Which one?", "this", "that"))
    desk.until(session, lambda state: state.status == "waiting_for_input")
    desk.backend.interrupt(session, SECONDS)
    state = desk.state(session)
    assert (state.status, state.question, outcomes(state)) == ("idle", None, [(1, "interrupted", None)])


@able_to("respond")
def test_an_answer_goes_to_exactly_its_question(desk: Desk) -> None:
    assert isinstance(desk.backend, Responds)
    session = desk.start()
    desk.send(session, desk.kit.ask("Which one?", "this", "that") + desk.kit.reply("on"))
    state = desk.until(session, lambda state: state.status == "waiting_for_input")
    (question,) = state.questions
    assert [part.text for part in question.parts] == ["Which one?"]
    desk.backend.respond(session, question, Answer("answer", answers=(("that",),)), SECONDS)
    assert outcomes(desk.settled(session)) == [(1, "completed", "on")]
    with pytest.raises(QuestionGone):
        desk.backend.respond(session, question, Answer("answer", answers=(("this",),)), SECONDS)


@able_to("respond")
def test_a_permission_is_granted_once_or_denied_with_a_reason(desk: Desk) -> None:
    assert isinstance(desk.backend, Responds)
    session = desk.start(permissions="ask")
    for answer, reply in ((Answer("allow"), None), (Answer("deny", "not yet"), "not yet"), (Answer("deny"), None)):
        number = desk.send(session, desk.kit.may("one"))
        question = desk.until(session, lambda state: state.status == "waiting_for_input").question
        assert question is not None
        assert question.kind == "permission"
        assert {"allow", "deny"} <= set(question.options)
        assert "one" in question.text
        desk.backend.respond(session, question, answer, SECONDS)
        state = desk.settled(session)
        assert outcomes(state)[-1][:2] == (number, "completed")
        assert reply in (None, outcomes(state)[-1][2])


@able_to("respond")
def test_an_answer_after_a_persons_is_refused_and_not_sent(desk: Desk) -> None:
    assert isinstance(desk.backend, Responds)
    session = desk.start()
    desk.send(session, desk.kit.ask("Which one?", "this", "that") + desk.kit.hold("on", "[[replytool]]"))
    question = desk.until(session, lambda state: state.status == "waiting_for_input").question
    assert question is not None
    desk.kit.answer(session, question.id, "this")
    desk.until(session, lambda state: state.question is None)
    with pytest.raises(QuestionGone):
        desk.backend.respond(session, question, Answer("answer", answers=(("that",),)), SECONDS)
    desk.kit.release(session, "on")
    ((_, outcome, reply),) = outcomes(desk.settled(session))
    assert outcome == "completed"
    assert "this" in str(reply)
    assert "that" not in str(reply)


@those(lambda kit: isinstance(kit, CodexKit))
def test_a_person_and_we_answer_at_the_same_time(desk: Desk) -> None:
    """Exactly one answer counts, and `respond` reports whether it was ours."""
    assert isinstance(desk.backend, Responds)
    assert isinstance(desk.kit, CodexKit)
    session = desk.start()
    for number in range(20):
        desk.send(session, desk.kit.ask("Which one?", "this", "that") + "[[replytool]]")
        question = desk.until(session, lambda state: state.status == "waiting_for_input").question
        assert question is not None
        with desk.kit.poised(session, "this") as person:
            later = threading.Timer(number / 1000, person)  # before, while and after we answer
            later.start()
            try:
                desk.backend.respond(session, question, Answer("answer", answers=(("that",),)), SECONDS)
                ours = True
            except QuestionGone:
                ours = False
            later.join()
        reply = str(outcomes(desk.settled(session))[-1][2])
        assert ("that" in reply, "this" in reply) == (ours, not ours)


@those(lambda kit: isinstance(kit, CodexKit))
def test_a_question_is_closed_when_its_server_ends(desk: Desk) -> None:
    assert isinstance(desk.backend, Responds)
    session = desk.start()
    desk.send(session, desk.kit.ask("Which one?", "this", "that"))
    question = desk.until(session, lambda state: state.status == "waiting_for_input").question
    assert question is not None
    for process in desk.kit.processes(session):
        processes.send_signal(*process, signal.SIGKILL)
    state = desk.until(session, lambda state: state.status == "idle")
    assert (state.questions, outcomes(state)) == ((), [(1, "interrupted", None)])
    with pytest.raises(QuestionGone, match="nothing was sent"):
        desk.backend.respond(session, question, Answer("answer", answers=(("that",),)), SECONDS)
    desk.send(session, desk.kit.ask("Which one?", "this", "that") + desk.kit.reply("on"))
    again = desk.until(session, lambda state: state.status == "waiting_for_input").question
    assert again is not None
    assert again.id != question.id
    with pytest.raises(QuestionGone, match="nothing was sent"):
        desk.backend.respond(session, question, Answer("answer", answers=(("that",),)), SECONDS)
    assert desk.state(session).question == again


@able_to("interrupt")
def test_an_interrupt_wakes_every_waiter(desk: Desk) -> None:
    """The waiter watches only the sources while somebody else interrupts."""
    assert isinstance(desk.backend, Interrupts)
    session = desk.start()
    desk.send(session, desk.kit.hold("never"))
    interrupting = threading.Timer(0.1, desk.backend.interrupt, (session, SECONDS))
    interrupting.start()
    assert outcomes(desk.settled(session)) == [(1, "interrupted", None)]
    interrupting.join()


@able_to("interrupt")
def test_interrupt_of_an_agent_at_rest_changes_nothing(desk: Desk) -> None:
    assert isinstance(desk.backend, Interrupts)
    session = desk.start()
    desk.send(session, desk.kit.reply("done"))
    before = desk.settled(session)
    desk.backend.interrupt(session, SECONDS)
    assert outcomes(desk.until(session, lambda state: state.status == "idle")) == outcomes(before)
    desk.send(session, desk.kit.reply("on"))
    assert outcomes(desk.settled(session)) == [(1, "completed", "done"), (2, "completed", "on")]


@able_to("revive")
def test_a_revived_agent_goes_on_and_its_open_turn_is_interrupted(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.reply("before"))
    desk.settled(session)
    desk.send(session, desk.kit.hold("never"))
    desk.end(session)
    assert outcomes(desk.state(session)) == [(1, "completed", "before"), (2, desk.kit.cut, None)]
    assert desk.state(session).turns[1].error  # it says what died
    desk.revive(session)
    state = desk.state(session)
    assert state.status == "idle"
    assert outcomes(state) == [(1, "completed", "before"), (2, "interrupted", None)]
    desk.send(session, desk.kit.reply("after"))
    assert outcomes(desk.settled(session))[2:] == [(3, "completed", "after")]
    assert [entry.text for entry in desk.backend.history(session, 9, False)] == ["before", "after"]
    conversation = desk.backend.conversation(session)
    assert [text for role, text in talk(conversation) if role == "assistant"] == ["before", "after"]
    conversation.close()


@able_to("revive")
def test_a_revived_agent_keeps_its_environment_and_folder(desk: Desk, tmp_path: Path) -> None:
    place = tmp_path / "it's a place"
    place.mkdir()
    session = desk.start(path=str(place), environ={"MARK": "a 'kept' $value\n of two lines"})
    desk.end(session)
    desk.revive(session, path=str(place), environ={"MARK": "another"})
    desk.send(session, desk.kit.run('pwd; echo "$MARK"; echo "$DEV_SESSIONS_KEY"'))
    (turn,) = desk.settled(session).turns
    assert (turn.reply or "").rstrip() == f"{place}\na 'kept' $value\n of two lines\n{session.record['key']}"


@able_to("revive")
def test_revive_first_ends_what_the_agent_left_running(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.background("setsid python3 -c 'import time; time.sleep(600)'"))
    desk.settled(session)
    desk.end(session)
    left = alive(desk, session)
    assert left
    desk.revive(session)
    assert not set(left) & set(alive(desk, session))


@able_to("revive")
def test_a_failed_revive_leaves_nothing_running_and_loses_nothing(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.reply("before"))
    desk.settled(session)
    desk.end(session)
    with desk.kit.spoiled(session), pytest.raises(LaunchFailed, match="no licence"):
        desk.revive(session)
    assert alive(desk, session) == []
    assert session.id not in desk.lab.tmux("list-sessions")
    assert desk.state(session).status == desk.kit.dead
    assert [entry.text for entry in desk.backend.history(session, 9, False)] == ["before"]
    desk.revive(session)
    assert desk.state(session).status == "idle"


@able_to("revive")
def test_revive_closes_an_earlier_question(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.ask("Which one?", "this", "that"))
    desk.until(session, lambda state: state.status == "waiting_for_input")
    desk.end(session)
    desk.revive(session)
    state = desk.state(session)
    assert (state.status, state.question, outcomes(state)) == ("idle", None, [(1, "interrupted", None)])


@those(lambda kit: isinstance(load(kit.name), Sleeps))
def test_an_agent_sleeps_from_the_end_of_its_server_until_it_is_revived(desk: Desk) -> None:
    assert isinstance(desk.backend, Sleeps)
    cut, rested = desk.start(), desk.start()
    desk.send(rested, desk.kit.reply("done"))
    desk.settled(rested)
    desk.send(cut, desk.kit.hold("never"))
    assert not desk.backend.sleeps(cut)
    assert not desk.backend.sleeps(rested)
    desk.end(cut)
    assert desk.backend.sleeps(cut)
    assert desk.backend.sleeps(rested)
    before = desk.kit.processes(cut)
    desk.revive(cut)
    assert desk.kit.processes(cut) != before
    assert not desk.backend.sleeps(cut)
    assert desk.backend.sleeps(rested)  # there is a new server, which has not loaded this one
    desk.revive(rested)
    assert not desk.backend.sleeps(rested)
    assert outcomes(desk.state(rested)) == [(1, "completed", "done")]


@those(lambda kit: isinstance(kit, CodexKit))
def test_a_thread_that_its_server_has_unloaded_sleeps_only_with_a_message_queued(desk: Desk) -> None:
    assert isinstance(desk.backend, Sleeps)
    desk.env["FAKE_UNLOAD"] = "0.1"
    session = desk.start()
    desk.send(session, desk.kit.reply("done"))
    desk.settled(session)
    desk.lab.until(lambda: thread_lock.held_by(session) is None, "the unloading")
    assert not desk.backend.sleeps(session)
    number = session.folder.next_number()
    claim = {"request_id": "q", "created": time.time(), "via": "rpc", "wire": "later", "queued": True}
    session.folder.claim_message(number, "later", claim)
    assert desk.backend.sleeps(session)


@those(lambda kit: isinstance(kit, CodexKit))
def test_an_archived_thread_is_restored_and_a_deleted_one_reported(desk: Desk) -> None:
    session = desk.start()
    desk.send(session, desk.kit.reply("before"))
    desk.settled(session)
    with CodexKit._line(session) as line:
        line.ask("thread/archive", threadId=desk.kit.address(session))
    assert desk.state(session).status == "exited"
    desk.revive(session)
    desk.send(session, desk.kit.reply("after"))
    desk.settled(session)
    assert [entry.text for entry in desk.backend.history(session, 9, False)] == ["before", "after"]
    Path(session.private["rollout"]).unlink()
    with pytest.raises(LaunchFailed, match="was deleted"):
        desk.revive(session)


@those(lambda kit: isinstance(kit, CodexKit))
def test_a_thread_that_another_codex_has_open_is_not_revived(desk: Desk) -> None:
    assert isinstance(desk.backend, Sleeps)
    session = desk.start()
    desk.end(session)
    with (Path(session.private["home"], "thread-writer-locks") / f"{desk.kit.address(session)}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not desk.backend.sleeps(session)
        with pytest.raises(LaunchFailed, match=r"busy elsewhere: another Codex has its thread open$"):
            desk.revive(session)
    assert desk.backend.sleeps(session)


@able_to("goal")
def test_a_goal_is_work_without_a_message_until_it_is_paused(desk: Desk) -> None:
    assert isinstance(desk.backend, Goals)
    session = desk.start()
    assert desk.backend.goal(session) is None
    goal = desk.backend.change_goal(session, desk.kit.hold("step", desk.kit.reply("a step")), 1_000_000, None)
    assert goal is not None
    assert (goal["status"], goal["token_budget"]) == ("active", 1_000_000)
    state = desk.until(session, lambda state: state.status == "working")
    assert state.turns == ()
    desk.kit.release(session, "step")
    desk.lab.until(lambda: len(desk.backend.history(session, 9, False)) > 2, "turn after turn")
    paused = desk.backend.change_goal(session, None, None, "pause")
    assert paused is not None
    assert paused["status"] == "paused"
    desk.until(session, lambda state: state.status == "idle")
    count = len(desk.backend.history(session, 999, False))
    assert desk.backend.goal(session) == paused  # reading it starts nothing
    desk.send(session, desk.kit.reply("ours"))
    assert outcomes(desk.settled(session)) == [(1, "completed", "ours")]
    assert len(desk.backend.history(session, 999, False)) == count + 1
    assert desk.backend.change_goal(session, None, None, "clear") is None
    assert desk.backend.goal(session) is None


@able_to("goal")
def test_interrupt_pauses_a_goal_that_would_go_on(desk: Desk) -> None:
    assert isinstance(desk.backend, Goals)
    assert isinstance(desk.backend, Interrupts)
    session = desk.start()
    desk.backend.change_goal(session, desk.kit.hold("never"), None, None)
    desk.until(session, lambda state: state.status == "working")
    desk.backend.interrupt(session, SECONDS)
    assert desk.state(session).status == "idle"
    goal = desk.backend.goal(session)
    assert goal is not None
    assert goal["status"] == "paused"
    desk.send(session, desk.kit.reply("on"))
    assert outcomes(desk.settled(session)) == [(1, "completed", "on")]


@those(lambda kit: isinstance(load(kit.name), Listens))
def test_errors_of_a_working_agent_are_noticed(desk: Desk) -> None:
    assert isinstance(desk.backend, Listens)
    session = desk.start()
    assert desk.backend.listen(session, soon=False) is None  # at rest
    desk.send(session, desk.kit.unreachable())
    assert desk.backend.listen(session, soon=True) is None  # it calls no tool
    listener = desk.backend.listen(session, soon=False)
    assert listener is not None
    heard: list[str] = []
    while not heard:
        assert select.select([listener.descriptor], [], [], SECONDS)[0]
        said = listener.heard()
        assert said is not None
        heard += said.complaints
    assert "waiting for network" in heard[0]
    listener.close()
    assert outcomes(desk.state(session)) == [(1, "working", None)]


@able_to("attach")
def test_attach_returns_a_command_for_that_session(desk: Desk) -> None:
    assert isinstance(desk.backend, Attaches)
    session = desk.start()
    argv = desk.backend.attach_command(session)
    assert shutil.which(argv[0])
    assert any(desk.kit.address(session) in word for word in argv)


def test_a_persons_prompt_is_a_turn_without_a_message(desk: Desk) -> None:
    session = desk.start()
    typed = desk.kit.hold("a", desk.kit.reply("typed"))
    desk.kit.type(desk.lab, session, typed)
    state = desk.until(session, lambda state: state.status == "working")
    assert state.turns == ()
    desk.kit.release(session, "a")
    desk.until(session, lambda state: state.status == "idle")
    assert [entry.text for entry in desk.backend.history(session, 1, False)] == ["typed"]
