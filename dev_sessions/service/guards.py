"""Checks that several operations make before they act."""

from __future__ import annotations

from ..errors import AgentExited, UsageError, WaitingForInput
from ..model import EXITED, WAITING, ways

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import State
    from .context import Session

MAX_BYTES = 5 * 1024 * 1024


def refuse_exited(session: Session, state: State) -> None:
    """Refuse to act on a session whose agent has exited.

    Raises:
        AgentExited: it has.
    """
    if state.status != EXITED:
        return
    after = f"dev-sessions last-message {session.id} for its last reply, dev-sessions kill {session.id} to clean up"
    if "revive" in session.record.get("capabilities", ()):
        after = f"dev-sessions revive {session.id} to restart it, dev-sessions last-message {session.id} to read it"
    raise AgentExited(f"the agent of {session.id} is gone ({state.error})", next=after)


def refuse_unless_ready(session: Session, state: State) -> None:
    """Refuse to send to an agent that cannot take a message now.

    Raises:
        AgentExited: it has exited.
        WaitingForInput: it is waiting for an answer, and would treat the message as one.
    """
    refuse_exited(session, state)
    if state.status == WAITING:
        question = state.question
        asked = f" It asks: {question.text}" if question else ""
        answer = ways(session.id, question.to_json()) if question else f"dev-sessions status {session.id}"
        raise WaitingForInput(
            f"{session.id} is waiting for an answer; nothing was sent.{asked}",
            next=f"{answer}, or dev-sessions attach {session.id}",
            session=session.id,
            question=question.to_json() if question else None,
        )


def checked_text(text: str | None) -> str:
    """The text of a message. `operations` has already refused text that is not UTF-8.

    Raises:
        UsageError: it is empty or too large.
    """
    if text is None or not text.strip():
        raise UsageError("the message is empty", next="dev-sessions send ID 'MESSAGE', or --file FILE")
    if len(text.encode()) > MAX_BYTES:
        raise UsageError("the message is larger than 5 MB", next="put it into a file and send its path")
    return text
