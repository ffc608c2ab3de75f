"""The Claude Code backend: a real terminal session in tmux, and the agent's own reports."""

from __future__ import annotations

from contextlib import contextmanager

from . import observe, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...model import Entry, Message, Question
    from ...terminal.screen import Screen
    from ...terminal.tmux import Tmux
    from ..base import Answer, Conversation, Delivery, Launch, Observation, Places, Session, Sources, Wire


class ClaudeBackend:
    """See `base`: `Backend`, `Interrupts`, `Responds`, `PressesKeys`, `Revives`, `Contained`, `Attaches`,
    `ContinuesAtReset`, `KeepsSecrets`.
    """

    def check(self, environ: Mapping[str, str], environment: Mapping[str, str], permissions: str) -> None:
        from ...terminal.tmux import Tmux
        from . import launch as starting
        from . import version

        Tmux(environ)
        program = starting.program(environ, contained=False)
        starting.refuse_root(environment, permissions)
        version.refuse_unsupported(program, environment)

    def check_contained(self, environ: Mapping[str, str], environment: Mapping[str, str], path: str) -> None:
        from ...terminal.tmux import Tmux
        from . import container, version
        from . import launch as starting

        Tmux(environ)
        program = starting.program(environ, contained=True)
        environment = container.outside(environment, path)
        container.refuse_shared(program, environment, path)
        version.refuse_unsupported(program, environment)

    def check_continues(self, environ: Mapping[str, str], environment: Mapping[str, str]) -> None:
        from . import launch as starting
        from . import limits, version

        program = starting.program(environ, contained=False)
        version.refuse_without(program, environment, limits.SINCE, "continue_at_reset")

    def launch(self, launch: Launch) -> None:
        from .startup import start

        start(launch)

    def wire(self, text: str, path: str) -> Wire:
        from .deliver import wire

        return wire(text, path)

    def deliver(self, session: Session, delivery: Delivery) -> None:
        from .deliver import deliver

        with _keyboard(session) as screen:
            deliver(session, screen, delivery)

    def received(self, session: Session, message: Message) -> bool:
        from .deliver import received

        return message.attempted is not None and received(session, message.wire, message.attempted)

    def observe(self, sessions: Sequence[Session]) -> list[Observation]:
        found = []
        for session in sessions:
            seen = observe.observe(session)
            found.append(seen if seen.probe.question is None else observe.with_screen(session, seen, _tmux(session)))
        return found

    def sources(self, session: Session) -> Sources:
        return observe.sources(session)

    def history(self, session: Session, count: int, running: bool) -> list[Entry]:
        from .conversation import replies

        return replies(session, count, running)

    def conversation(self, session: Session) -> Conversation:
        from .conversation import ClaudeConversation

        return ClaudeConversation(session)

    def places(self, session: Session) -> Places:
        from ...errors import TmuxError
        from .inspect import places

        try:
            tmux = _tmux(session)
        except TmuxError:
            tmux = None
        return places(session, tmux)

    def stop(self, session: Session) -> None:
        from .stop import stop

        stop(session, _tmux(session))

    def remove_secrets(self, session: Session) -> None:
        from ...system import files

        files.remove(paths.script(session.folder))

    def interrupt(self, session: Session, timeout: float) -> None:
        from .interrupt import interrupt

        with _keyboard(session) as screen:
            interrupt(session, screen, timeout)

    def respond(self, session: Session, question: Question, answer: Answer, timeout: float) -> None:
        from .answer import respond

        respond(session, question, answer, timeout)

    def press(self, session: Session, question: Question, key: str) -> str:
        from .keys import press

        with _keyboard(session, only_ours=False) as screen:
            return press(session, screen, question, key)

    def revive(self, launch: Launch) -> None:
        from .revive import revive

        revive(launch)

    def attach_command(self, session: Session) -> list[str]:
        from ...terminal.server import unreachable

        tmux, name, pane = _tmux(session), paths.terminal(session), str(session.private.get("pane") or "")
        found = tmux.session_of(pane, session.record["key"]) if pane else None
        if found is None and (why := unreachable(tmux)):
            raise why
        # If a person has renamed the session or moved the pane, it can only be found by the pane's id.
        return tmux.command("attach-session", "-t", f"={name}" if found is None or found[1] == name else pane)


@contextmanager
def _keyboard(session: Session, only_ours: bool = True) -> Iterator[Screen]:
    """The session's screen, while Claude reads keys; with `only_ours`, the user's bindings replace our keys."""
    from ...errors import AgentExited, ScreenGone, TmuxError
    from ...terminal.server import unreachable
    from . import keys

    try:
        with _screen(session) as screen:
            keys.continue_suspended(session, screen)
            if only_ours:
                screen.bound = keys.pressed(paths.config_folder(session))
            yield screen
    except ScreenGone as error:
        if observe.look(session).running:
            raise unreachable(_tmux(session)) or TmuxError(
                f"the connection to the terminal of {session.id} was lost", next=f"dev-sessions status {session.id}"
            ) from error
        raise AgentExited(
            f"the agent of {session.id} has ended", next=f"dev-sessions last-message {session.id}"
        ) from error


def _screen(session: Session) -> Screen:
    """A view of the session. If tmux, under load, drops the client at its start, start another while the agent runs."""
    from ...errors import ScreenGone, TmuxError
    from ...terminal.screen import Screen
    from ...terminal.server import unreachable

    tmux, name, pane = _tmux(session), paths.terminal(session), session.private.get("pane")
    for tries_left in (2, 1, 0):
        try:
            return Screen(tmux, name, pane, session.record["key"])
        except ScreenGone:
            if not tries_left or not observe.look(session).running:
                raise
        except TmuxError as error:
            raise unreachable(tmux) or error from error
    raise AssertionError("not reached")


def _tmux(session: Session) -> Tmux:
    from ...terminal.tmux import Tmux

    return Tmux(session.environ, session.private.get("socket"))
