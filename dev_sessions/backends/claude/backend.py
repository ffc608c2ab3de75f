"""The Claude Code backend: a real terminal session in tmux, steered by its own reports."""

from __future__ import annotations

from contextlib import contextmanager

from . import observe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...errors import TmuxError
    from ...model import Entry, Message, Question
    from ...terminal.screen import Screen
    from ...terminal.tmux import Tmux
    from ..base import Answer, Conversation, Delivery, Launch, Observation, Places, Session, Sources, Wire

# How long Claude may take to end by itself. Seconds.
_GRACE = 3.0


class ClaudeBackend:
    """See `base`: `Backend`, `Interrupts`, `Responds`, `PressesKeys`, `Revives`, `Contained`, `Attaches`,
    `ContinuesAtReset`.
    """

    def check(self, environ: Mapping[str, str], environment: Mapping[str, str], permissions: str) -> None:
        from ...terminal.tmux import Tmux
        from . import launch as starting
        from . import version

        Tmux(environ)
        program = starting.binary(environ)
        starting.refuse_root(environment, permissions)
        version.refuse_unsupported(program, environment)

    def check_contained(self, environ: Mapping[str, str], environment: Mapping[str, str], path: str) -> None:
        from ...terminal.tmux import Tmux
        from . import container, version

        Tmux(environ)
        program = container.binary(environ)
        environment = container.outside(environment, path)
        container.refuse_shared(program, environment, path)
        version.refuse_unsupported(program, environment)

    def check_continues(self, environ: Mapping[str, str], environment: Mapping[str, str]) -> None:
        from . import launch as starting
        from . import limits, version

        version.refuse_without(starting.binary(environ), environment, limits.SINCE, "continue_at_reset")

    def launch(self, launch: Launch) -> None:
        from .startup import start

        start(launch)

    def wire(self, text: str, path: str) -> Wire:
        from . import deliver as delivering

        return delivering.wire(text, path)

    def deliver(self, session: Session, delivery: Delivery) -> None:
        from . import deliver as delivering
        from . import keys

        with _keyboard(session) as screen:
            screen.bound = keys.pressed(observe.config_folder(session))
            delivering.deliver(session, screen, delivery)

    def received(self, session: Session, message: Message) -> bool:
        from . import deliver as delivering

        return message.attempted is not None and delivering.received(session, message.wire, message.attempted)

    def observe(self, sessions: Sequence[Session]) -> list[Observation]:
        return [self._observed(session) for session in sessions]

    def _observed(self, session: Session) -> Observation:
        seen = observe.observe(session)
        if seen.probe.question is None:
            return seen
        from .pressing import with_screen

        return with_screen(session, seen, _tmux(session))

    def sources(self, session: Session) -> Sources:
        return observe.sources(session)

    def history(self, session: Session, count: int, running: bool) -> list[Entry]:
        from . import history

        return history.replies(session, count, running)

    def conversation(self, session: Session) -> Conversation:
        from .conversation import ClaudeConversation

        return ClaudeConversation(session)

    def places(self, session: Session) -> Places:
        from ...errors import TmuxError
        from .paths import places

        try:
            tmux = _tmux(session)
        except TmuxError:
            tmux = None
        return places(session, tmux)

    def stop(self, session: Session) -> None:
        from .stop import stop

        stop(session, _tmux(session), _GRACE)

    def interrupt(self, session: Session, timeout: float) -> None:
        from . import keys
        from .interrupt import interrupt

        with _keyboard(session) as screen:
            screen.bound = keys.pressed(observe.config_folder(session))
            interrupt(session, screen, timeout)

    def respond(self, session: Session, question: Question, answer: Answer, timeout: float) -> None:
        from .answer import respond

        respond(session, question, answer, timeout)

    def press(self, session: Session, question: Question, key: str) -> str:
        from .pressing import press

        with _keyboard(session) as screen:
            return press(session, screen, question, key)

    def revive(self, launch: Launch) -> None:
        from .revive import revive

        revive(launch, _GRACE)

    def attach_command(self, session: Session) -> list[str]:
        tmux, name, pane = _tmux(session), observe.pane_name(session), str(session.private.get("pane") or "")
        found = tmux.session_of(pane, session.record["key"]) if pane else None
        if found is None and (why := _unreachable(tmux)):
            raise why
        # Where a person has renamed the session or moved the pane, its id is what still leads there.
        return tmux.command("attach-session", "-t", f"={name}" if found is None or found[1] == name else pane)


@contextmanager
def _keyboard(session: Session) -> Iterator[Screen]:
    """The session's screen, of a Claude that reads keys."""
    from .suspended import go_on

    with _screen(session) as screen:
        go_on(session, screen)
        yield screen


@contextmanager
def _screen(session: Session) -> Iterator[Screen]:
    from ...errors import AgentExited, ScreenGone, TmuxError

    try:
        with _opened(session) as screen:
            yield screen
    except ScreenGone as error:
        if observe.look(session).running:
            raise _unreachable(_tmux(session)) or TmuxError(
                f"the connection to the terminal of {session.id} was lost", next=f"dev-sessions status {session.id}"
            ) from error
        raise AgentExited(
            f"the agent of {session.id} has ended", next=f"dev-sessions last-message {session.id}"
        ) from error


def _opened(session: Session) -> Screen:
    """A view of the session; a client that tmux drops at its start, under load, is replaced while the agent lives."""
    from ...errors import ScreenGone, TmuxError
    from ...terminal.screen import Screen

    tmux, name, pane = _tmux(session), observe.pane_name(session), session.private.get("pane")
    for tries_left in (2, 1, 0):
        try:
            return Screen(tmux, name, pane, session.record["key"])
        except ScreenGone:
            if not tries_left or not observe.look(session).running:
                raise
        except TmuxError as error:
            raise _unreachable(tmux) or error from error
    raise AssertionError("not reached")


def _unreachable(tmux: Tmux) -> TmuxError | None:
    from ...terminal.server import unreachable

    return unreachable(tmux)


def _tmux(session: Session) -> Tmux:
    from ...terminal.tmux import Tmux

    return Tmux(session.environ, session.private.get("socket"))
