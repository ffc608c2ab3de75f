"""The Codex backend: a thread in an app-server, read from its rollout."""

from __future__ import annotations

from . import observe, paths, rollout, view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ...model import Entry, Message, Question
    from ..base import Answer, Conversation, Delivery, Launch, Listener, Observation, Places, Session, Sources, Wire


class CodexBackend:
    """See `base`: `Backend`, `Interrupts`, `Responds`, `Revives`, `Sleeps`, `Attaches`, `Goals` and `Listens`."""

    def check(self, environ: Mapping[str, str], environment: Mapping[str, str], permissions: str) -> None:
        from .program import PROGRAM

        PROGRAM.find(environ)

    def launch(self, launch: Launch) -> None:
        from . import thread

        thread.launch(launch)

    def wire(self, text: str, path: str) -> Wire:
        from . import deliver as delivering

        return delivering.wire(text, path)

    def deliver(self, session: Session, delivery: Delivery) -> None:
        from . import deliver as delivering

        delivering.deliver(session, delivery)

    def received(self, session: Session, message: Message) -> bool:
        from . import deliver as delivering

        return delivering.received(session, message)

    def observe(self, sessions: Sequence[Session]) -> list[Observation]:
        return observe.observe(sessions)

    def sources(self, session: Session) -> Sources:
        return observe.sources(session)

    def history(self, session: Session, count: int, running: bool) -> list[Entry]:
        path = paths.record_path(session)
        return rollout.newest(path, count, view.read(session, path).open if running else None) if path else []

    def conversation(self, session: Session) -> Conversation:
        from .conversation import CodexConversation

        return CodexConversation(session)

    def places(self, session: Session) -> Places:
        from .inspect import places

        return places(session)

    def stop(self, session: Session) -> None:
        from .stop import stop

        stop(session)

    def interrupt(self, session: Session, timeout: float) -> None:
        from .interrupt import interrupt

        interrupt(session, timeout)

    def respond(self, session: Session, question: Question, answer: Answer, timeout: float) -> None:
        from .answer import respond

        respond(session, question, answer, timeout)

    def sleeps(self, session: Session) -> bool:
        from .revive import sleeps

        return sleeps(session)

    def revive(self, launch: Launch) -> None:
        from .revive import revive

        revive(launch)

    def listen(self, session: Session, soon: bool) -> Listener | None:
        from .notices import listen

        return listen(session, soon)

    def goal(self, session: Session) -> dict[str, Any] | None:
        from . import goals

        return goals.read(session)

    def change_goal(
        self, session: Session, objective: str | None, budget: int | None, act: str | None
    ) -> dict[str, Any] | None:
        from . import goals

        return goals.change(session, objective, budget, act)

    def attach_command(self, session: Session) -> list[str]:
        from . import thread

        place, program = paths.place_of(session), thread.program_of(session)
        thread.connect(session, 30.0).close()
        argv = ["env", f"CODEX_HOME={place.home}", program, "resume", "--remote", f"unix://{place.socket}"]
        # Without the folder Codex asks which one is meant, unless the caller is in it.
        return [*argv, "--cd", session.record["path"], session.private["thread"]]
