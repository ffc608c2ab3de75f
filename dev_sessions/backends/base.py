"""The interface of a backend, the adapter to one agent program.

A backend turns an agent's evidence into facts. It does not write the registry or our records, only its own part of the
session's folder (`agent/`) and the agent's reports in `facts/`. Besides the core verbs, it declares what it can do by
implementing capability protocols, which are checked with `isinstance`; nothing depends on a backend's name.
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
        path: the folder to work in, absolute, with symlinks resolved.
        permissions: "full", "edit", "ask" or "plan".
        model: the model to use, or None for the agent's default.
        environment: the agent's whole environment.
        trust: whether to accept a folder that the user has not trusted in the agent; None: see `accepts`.
        timeout: how many seconds the agent may take until it is ready for input.
        say: prints a note for the user.
        keep: called with the backend's private state as soon as it is known, before the agent can do any work.
        leave_out: called with the names of the project's own files for agents, relative to `path`, if the agent is
            started without them because the user has not trusted the folder.
        continue_at_reset: the agent may go on by itself when a limit of its account resets (see `ContinuesAtReset`).
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
    """A message as the agent gets it: `via` "terminal" with the text itself, or "file" with a line that names it."""

    via: str
    text: str


class Delivery(NamedTuple):
    """One message to deliver.

    Attributes:
        message: the message; `message.wire` is the text that the agent gets.
        timeout: seconds to wait for the agent's receipt.
        attempt: called once, just before the message may reach the agent.
        say: prints a note for the user.
    """

    message: Message
    timeout: float
    attempt: Callable[[], None]
    say: Callable[[str], None]


class Answer(NamedTuple):
    """The answer to a question.

    Attributes:
        decision: "allow", "always" (allow similar ones too from now on) or "deny"; for a question, "answer".
        why: the reason that the agent gets with "deny".
        answers: with "answer", for each part the chosen labels or the text.
    """

    decision: str
    why: str = ""
    answers: tuple[tuple[str, ...], ...] = ()


class Places(NamedTuple):
    """Where a person can find a session's agent.

    Attributes:
        files: absolute paths, by a short name, of the files that the agent writes or was started with, even if missing.
        terminal: "socket" and "session" of its tmux, or None if it has no terminal.
        version: the version of the agent's program, if known.
        reported: the agent has reported something itself.
    """

    files: dict[str, str]
    terminal: dict[str, str] | None
    version: str | None
    reported: bool


class Conversation(Protocol):
    """Reads a conversation from its beginning, and as it goes on. Used by `logs`."""

    def new(self) -> Iterator[Entry]:
        """The entries since the last call; the first call yields all. Only one entry is in memory at a time."""

    def rest(self) -> Iterator[Entry]:
        """The entries that the agent has reported but not written yet. Called once, at the end."""

    def paths(self) -> tuple[str, ...]:
        """The paths to watch for new entries."""

    def close(self) -> None: ...


class Backend(Protocol):
    """The core verbs. Constructed without arguments; holds no state between calls."""

    def check(self, environ: Mapping[str, str], environment: Mapping[str, str], permissions: str) -> None:
        """Check that the agent can be started. Called by `create` before anything is created.

        Args:
            environ: the caller's environment.
            environment: the environment that the agent will get.

        Raises:
            LaunchFailed: the agent cannot be started here.
        """

    def launch(self, launch: Launch) -> None:
        """Start the agent and return when it is ready for input. Called by `create`, under the session's lock.

        Raises:
            LaunchFailed: it did not start; the caller cleans up with `stop`.
            WaitingForInput: it asks something that a person has to answer; the session is kept.
        """

    def wire(self, text: str, path: str) -> Wire:
        """The form in which the agent gets `text`, which is also in the file `path`. Called before it is recorded."""

    def deliver(self, session: Session, delivery: Delivery) -> None:
        """Deliver a message and return when the agent has it. Called by `send` and the courier, under the lock.

        Raises:
            DeliveryFailed, WaitingForInput, AgentExited: the agent has not received it and will not.
            DeliveryUnknown: the agent may have received it, but did not confirm it in time.
        """

    def received(self, session: Session, message: Message) -> bool:
        """True if the agent has confirmed this message. Called before a second attempt."""

    def observe(self, sessions: Sequence[Session]) -> list[Observation]:
        """An observation of each agent. Called by every read; takes no lock, writes nothing and starts nothing."""

    def sources(self, session: Session) -> Sources:
        """What to watch for changes of the session. Called by `wait` and the courier before each read."""

    def history(self, session: Session, count: int, running: bool) -> list[Entry]:
        """The last assistant texts, at most `count`, oldest first. Works even if the agent has exited.

        With `running`, those of the running turn are omitted. Called by `last-message`.
        """

    def conversation(self, session: Session) -> Conversation:
        """The whole conversation. Works even if the agent has exited, or has not written anything yet."""

    def places(self, session: Session) -> Places:
        """Where the agent can be found. Called by `inspect`; works even if the agent has exited."""

    def stop(self, session: Session) -> None:
        """End the agent and everything that it left running. Called by `kill` and by a failed `create`.

        It is not an error if something has already ended.
        """


@runtime_checkable
class Interrupts(Protocol):
    """The running turn can be ended."""

    def interrupt(self, session: Session, timeout: float) -> None:
        """End the running turn and return when the agent is at rest.

        Raises:
            TimedOut: it is not; the message quotes its screen.
        """


@runtime_checkable
class Attaches(Protocol):
    """A person can use the live session."""

    def attach_command(self, session: Session) -> list[str]:
        """The argv that connects the caller's terminal to the session."""


@runtime_checkable
class Responds(Protocol):
    """A question can be answered through the agent's own channel, without pressing keys."""

    def respond(self, session: Session, question: Question, answer: Answer, timeout: float) -> None:
        """Answer exactly this question, and return when the agent has taken the answer. Called under the lock.

        Raises:
            QuestionGone: it was already answered, or the agent no longer waits; the agent has not got the answer.
            DeliveryUnknown: the agent may have taken the answer, but did not confirm it in time.
        """


@runtime_checkable
class PressesKeys(Protocol):
    """A dialog of the agent's program can be answered with keys."""

    def press(self, session: Session, question: Question, key: str) -> str:
        """Press one key on the screen that shows `question`; returns the screen that follows. Called under the lock.

        Raises:
            QuestionGone: the screen shows the input box, where a key would be typed; no key was pressed.
        """


@runtime_checkable
class Revives(Protocol):
    """An agent that has exited can be restarted."""

    def revive(self, launch: Launch) -> None:
        """Restart the agent on its conversation, and return when it is ready for input.

        Called by `revive`, under the session's lock, for an agent that has exited or sleeps. The agent gets its earlier
        environment, or `launch.environment` if that is lost. Everything that it left running is ended first.
        `launch.keep` gets the whole private state, including the part that has not changed.

        Raises:
            LaunchFailed: it did not start, and no process of it is left; its conversation is kept.
            WaitingForInput: it asks something that a person has to answer; it is kept.
        """


@runtime_checkable
class Sleeps(Protocol):
    """An agent may have no process while it has nothing to do; it is restarted when it gets work."""

    def sleeps(self, session: Session) -> bool:
        """True if no process of the agent is running. Called by `revive` for a session that is not `exited`."""


@runtime_checkable
class KeepsSecrets(Protocol):
    """The agent's own files in the session's folder contain secrets, such as its environment."""

    def remove_secrets(self, session: Session) -> None:
        """Remove these files. Called by `kill` under the session's lock, right before the folder is archived."""


@runtime_checkable
class Goals(Protocol):
    """The agent can pursue an objective by itself over several turns."""

    def goal(self, session: Session) -> dict[str, Any] | None:
        """The session's goal ("objective", "status", "tokens_used", "token_budget", ...) or None. Starts nothing."""

    def change_goal(
        self, session: Session, objective: str | None, budget: int | None, act: str | None
    ) -> dict[str, Any] | None:
        """Set an objective or a budget, or carry out an `act` ("pause", "resume", "clear"); returns the new goal."""


@runtime_checkable
class Contained(Protocol):
    """The agent can run in a container, with a command that the user has written (`--mode docker`)."""

    def check_contained(self, environ: Mapping[str, str], environment: Mapping[str, str], path: str) -> None:
        """`Backend.check` for a session in a container, which will work in the folder `path`.

        Raises:
            LaunchFailed: the agent cannot be started here in a container.
        """


@runtime_checkable
class ContinuesAtReset(Protocol):
    """An agent that a limit of its account has stopped can go on by itself when the limit resets."""

    def check_continues(self, environ: Mapping[str, str], environment: Mapping[str, str]) -> None:
        """Check that the agent can do this. Called by `create` like `Backend.check`.

        Raises:
            Unsupported: this version of the agent cannot.
        """


class Heard(NamedTuple):
    """The notices that a listener has received.

    Attributes:
        complaints: errors that the agent reports, in its own words.
        moved: the agent's state may have changed, for example because it asks something.
    """

    complaints: list[str]
    moved: bool


class Listener(Protocol):
    """Receives the notices of a working agent. `descriptor` is readable when there may be some."""

    descriptor: int

    def heard(self) -> Heard | None:
        """The notices since the last call; None if no more can arrive."""

    def close(self) -> None: ...


@runtime_checkable
class Listens(Protocol):
    """A working agent sends notices, for example that it cannot reach the model, or that it asks something."""

    def listen(self, session: Session, soon: bool) -> Listener | None:
        """A listener, or None if the agent is not working or sends no notices. Starts nothing. Called by `wait`.

        Args:
            soon: listen only if the agent may ask something very soon; otherwise it is not worth the cost yet.

        Raises:
            TimedOut: the agent's program does not answer.
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
    """The names of a backend's capabilities, as `create --json` lists them."""
    return [name for name, protocol in CAPABILITIES.items() if isinstance(backend, protocol)]
