"""What a backend is: the adapter to one agent program.

A backend turns an agent's evidence into facts. It writes neither the store nor our records, only its own part of the
session's folder (`agent/`) and what the agent itself writes into `facts/`. Beyond the core verbs, it declares what it
can do by implementing a capability protocol; `isinstance` decides, and nobody asks for its name.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..model import Entry, Message, Question
from .session import Observation as Observation
from .session import Session as Session
from .session import Sources as Sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


class Launch(NamedTuple):
    """How to start an agent.

    Attributes:
        session: the new session; its folder exists.
        path: the folder to work in, absolute, symlinks resolved.
        permissions: "full", "edit", "ask" or "plan".
        model: the model to ask for, or None for the agent's own choice.
        environment: the agent's whole environment.
        trust: whether to accept a folder that the user has not trusted in the agent; None: see `accepts`.
        timeout: seconds until the agent has to be ready for input.
        say: reports to the user what was done on the way.
        keep: called with the backend's private state as soon as it is known, before the agent can do any work.
        leave_out: called if the agent is started without the project's own files for agents, because the user has not
            trusted the folder; with their names, relative to `path`.
        continue_at_reset: it may go on by itself when a limit of its account resets (see `ContinuesAtReset`).
    """

    session: Session
    path: str
    permissions: str
    model: str | None
    environment: Mapping[str, str]
    trust: bool | None
    timeout: float
    say: Callable[[str], None]
    keep: Callable[[dict[str, Any]], None]
    leave_out: Callable[[Sequence[str]], None]
    continue_at_reset: bool = False

    @property
    def accepts(self) -> bool:
        """True if a folder that the user has not trusted in the agent is accepted as it is."""
        return self.permissions == "full" if self.trust is None else self.trust


class Wire(NamedTuple):
    """A message as it will be given to the agent: `via` "terminal" with the text itself, or "file" with a pointer."""

    via: str
    text: str


class Delivery(NamedTuple):
    """One message to hand over.

    Attributes:
        message: what to deliver; `message.wire` is the text to give.
        timeout: seconds to wait for the agent's receipt.
        attempt: called once, just before the message may reach the agent.
        say: reports to the user what was done on the way.
    """

    message: Message
    timeout: float
    attempt: Callable[[], None]
    say: Callable[[str], None]


class Answer(NamedTuple):
    """The answer to a question.

    Attributes:
        decision: "allow", "always" (also similar ones from now on) or "deny"; "answer" to a question's parts.
        why: the reason that the agent gets with "deny".
        answers: with "answer", for each part the labels chosen or the text given.
    """

    decision: str
    why: str = ""
    answers: tuple[tuple[str, ...], ...] = ()


class Places(NamedTuple):
    """Where a session's agent can be found by a person.

    Attributes:
        files: what the agent writes and was started with, by a short name, as absolute paths; also missing ones.
        terminal: "socket" and "session" of its tmux, or None if it has no terminal.
        version: the agent program's version, where known.
        reported: the agent has reported something by itself (otherwise what is known was found without it).
    """

    files: dict[str, str]
    terminal: dict[str, str] | None
    version: str | None
    reported: bool


class Conversation(Protocol):
    """A conversation that is read from its beginning, and may go on. Called by `logs`."""

    def new(self) -> Iterator[Entry]:
        """The entries since the last call; at first all. Holds one entry at a time."""

    def rest(self) -> Iterator[Entry]:
        """What the agent has reported, and not written yet. Called once, when nothing more will be read."""

    def paths(self) -> tuple[str, ...]:
        """What to watch for more."""

    def close(self) -> None: ...


class Backend(Protocol):
    """The core verbs. Constructed without arguments; holds no state between calls."""

    def check(self, environ: Mapping[str, str], environment: Mapping[str, str], permissions: str) -> None:
        """Called by `create` before anything is made, with the caller's environment and the agent's to be.

        Raises:
            LaunchFailed: the agent cannot be started here.
        """

    def launch(self, launch: Launch) -> None:
        """Start the agent and return when it is ready for input. Called by `create`, under the session's lock.

        Raises:
            LaunchFailed: it did not start; the caller cleans up with `stop`.
            WaitingForInput: it shows something that a person has to answer; the session stays.
        """

    def wire(self, text: str, path: str) -> Wire:
        """How `text` travels; `path` is a file that holds it. Called by `send` before the message is claimed."""

    def deliver(self, session: Session, delivery: Delivery) -> None:
        """Hand a message over and return when the agent has it. Called by `send` and the courier, under the lock.

        Raises:
            DeliveryFailed, WaitingForInput, AgentExited: the agent has not received it, and will not.
            DeliveryUnknown: it may have received it; no receipt came in time.
        """

    def received(self, session: Session, message: Message) -> bool:
        """True if the agent has confirmed this message. Called before a second attempt."""

    def observe(self, sessions: Sequence[Session]) -> list[Observation]:
        """What each agent reports and does. Called by every read; takes no lock, writes nothing, starts nothing."""

    def sources(self, session: Session) -> Sources:
        """What to watch while waiting for `session`. Called by `wait` and the courier before each look."""

    def history(self, session: Session, count: int, running: bool) -> list[Entry]:
        """The last assistant texts, oldest first, at most `count`. Works when the agent is gone.

        With `running`, those of the turn that runs now are left out. Called by `last-message`.
        """

    def conversation(self, session: Session) -> Conversation:
        """The whole conversation. Works when the agent is gone, and before it has written anything."""

    def places(self, session: Session) -> Places:
        """Where the agent can be found. Called by `inspect`; works when the agent is gone."""

    def stop(self, session: Session) -> None:
        """End the agent and all that it left running. Called by `kill` and by a failed `create`. Never raises because
        something is gone already."""


@runtime_checkable
class Interrupts(Protocol):
    """The running turn can be ended."""

    def interrupt(self, session: Session, timeout: float) -> None:
        """End the running turn and return when the agent is at rest. Raises `TimedOut` with what is on its screen."""


@runtime_checkable
class Attaches(Protocol):
    """A person can use the live session."""

    def attach_command(self, session: Session) -> list[str]:
        """The argv that puts the caller's terminal on the session."""


@runtime_checkable
class Responds(Protocol):
    """A question can be answered through a channel of the agent's own, without a key."""

    def respond(self, session: Session, question: Question, answer: Answer, timeout: float) -> None:
        """Answer exactly this question, and return when the agent has taken the answer. Called under the lock.

        Raises:
            QuestionGone: somebody else was first, or the agent no longer waits: it has not got the answer.
            DeliveryUnknown: the agent has not shown in time what became of it.
        """


@runtime_checkable
class PressesKeys(Protocol):
    """A dialog on the agent's screen that is not a question of the agent can be answered with keys."""

    def press(self, session: Session, question: Question, key: str) -> str:
        """Press one key on what `question` shows and return the screen that follows. Called under the lock.

        Raises:
            QuestionGone: the screen shows the input box, where a key would be typed; no key was pressed.
        """


@runtime_checkable
class Revives(Protocol):
    """An agent that is gone can be started again."""

    def revive(self, launch: Launch) -> None:
        """Start the agent again on the conversation that it had, and return when it is ready for input.

        Called by `revive` for an agent that is gone, or asleep, under the session's lock. The agent gets the
        environment that it had, or `launch.environment` if that is lost. What it left running before is ended first.
        `launch.keep` gets the whole private state, also the part that has not changed.

        Raises:
            LaunchFailed: it did not start, and nothing of it runs; its conversation stays.
            WaitingForInput: it shows something that a person has to answer; it stays.
        """


@runtime_checkable
class Sleeps(Protocol):
    """An agent may have no process although its session is not over; it is started again when it gets work."""

    def sleeps(self, session: Session) -> bool:
        """True if `revive` has something to start: no process goes on with what the agent has to do.

        Called by `revive` for a session that is not `exited`. Starts nothing.
        """


@runtime_checkable
class KeepsSecrets(Protocol):
    """The agent's own files in the session's folder hold secrets, such as its environment."""

    def remove_secrets(self, session: Session) -> None:
        """Remove these files. Called by `kill` under the session's lock, right before the folder is archived."""


@runtime_checkable
class Goals(Protocol):
    """The agent can pursue an objective over turns by itself."""

    def goal(self, session: Session) -> dict[str, Any] | None:
        """The session's goal ("objective", "status", "tokens_used", "token_budget", ...) or None. Starts nothing."""

    def change_goal(
        self, session: Session, objective: str | None, budget: int | None, act: str | None
    ) -> dict[str, Any] | None:
        """Set an objective or a budget, or carry out an `act` ("pause", "resume", "clear"); the goal as it is then."""


@runtime_checkable
class Contained(Protocol):
    """The agent can run in a container, by a command that the user has written (`--mode docker`)."""

    def check_contained(self, environ: Mapping[str, str], environment: Mapping[str, str], path: str) -> None:
        """`Backend.check` for a session in a container, which gets the folder `path` to work in.

        Raises:
            LaunchFailed: the agent cannot be started here in a container.
        """


@runtime_checkable
class ContinuesAtReset(Protocol):
    """An agent whose turn a limit of its account has stopped can go on by itself once that resets."""

    def check_continues(self, environ: Mapping[str, str], environment: Mapping[str, str]) -> None:
        """Called by `create` before anything is made, with the caller's environment and the agent's to be.

        Raises:
            Unsupported: this release of the agent cannot.
        """


class Heard(NamedTuple):
    """What came in through a listener.

    Attributes:
        complaints: errors that the agent reports, in its own words.
        moved: another look at the agent may show more, for instance that it asks something.
    """

    complaints: list[str]
    moved: bool


class Listener(Protocol):
    """Notices of an agent at work. `descriptor` is readable when there may be some."""

    descriptor: int

    def heard(self) -> Heard | None:
        """What has come since the last call; None if nothing more can come."""

    def close(self) -> None: ...


@runtime_checkable
class Listens(Protocol):
    """An agent at work sends notices: of a model that it cannot reach, or that it begins to ask something."""

    def listen(self, session: Session, soon: bool) -> Listener | None:
        """A listener, or None if the agent is not at work or cannot be heard. Starts nothing. Called by `wait`.

        Args:
            soon: listen only if the agent may ask something the next moment; otherwise it is not worth the cost yet.

        Raises:
            TimedOut: it should answer, and does not.
        """


CAPABILITIES: dict[str, type] = {
    "attach": Attaches,
    "continue_at_reset": ContinuesAtReset,
    "docker": Contained,
    "goal": Goals,
    "interrupt": Interrupts,
    "press": PressesKeys,
    "respond": Responds,
    "revive": Revives,
}


def capabilities(backend: Backend) -> list[str]:
    """The names of what a backend can do beyond the core verbs, as `create --json` lists them."""
    return [name for name, protocol in CAPABILITIES.items() if isinstance(backend, protocol)]
