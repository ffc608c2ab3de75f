"""The errors that dev-sessions raises on purpose, each with a code.

An error does not know exit codes (`cli/output.py` has that table). It crosses a transport as
``{"code", "message", "data"}``, and `from_wire` turns that back into an error of its class.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class DevSessionsError(Exception):
    """The base class: an error that can be explained to the user in a sentence.

    Args:
        message: one sentence, without a trailing newline.
        next: the command (or act) that helps the user on; shown on a line of its own.
        data: JSON-ready details, part of the `--json` output.
    """

    code = "error"

    def __init__(self, message: str, next: str | None = None, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = dict(data)
        if next is not None:
            self.data["next"] = next

    def __init_subclass__(cls) -> None:
        _BY_CODE[cls.code] = cls

    def to_wire(self) -> dict[str, Any]:
        """The error for a transport."""
        return {"code": self.code, "message": self.message, "data": self.data}


_BY_CODE: dict[str, type[DevSessionsError]] = {}


class UsageError(DevSessionsError):
    """The call itself is wrong."""

    code = "usage"


class SessionNotFound(DevSessionsError):
    """There is no session with that id."""

    code = "not_found"


class Unsupported(DevSessionsError):
    """This backend cannot do that."""

    code = "unsupported"


class LaunchFailed(DevSessionsError):
    """The agent did not start; nothing is left behind."""

    code = "launch_failed"


class DeliveryFailed(DevSessionsError):
    """The agent has certainly not taken the message."""

    code = "not_delivered"


class DeliveryUnknown(DevSessionsError):
    """There was no receipt in time."""

    code = "delivery_unknown"


class AgentExited(DevSessionsError):
    """The agent's program is gone."""

    code = "exited"


class TurnFailed(DevSessionsError):
    """The turn failed or was interrupted."""

    code = "turn_failed"


class WaitingForInput(DevSessionsError):
    """A question or dialog is open."""

    code = "waiting_for_input"


class QuestionGone(DevSessionsError):
    """The question is not open any more; nothing was sent."""

    code = "question_gone"


class TimedOut(DevSessionsError):
    """The caller's timeout passed; the agent goes on."""

    code = "timeout"


class HostUnreachable(DevSessionsError):
    """The machine that holds the sessions cannot be reached."""

    code = "unreachable"


class StoreError(DevSessionsError):
    """The state folder cannot be read or written."""

    code = "store"


class TmuxError(DevSessionsError):
    """tmux refused a command, or cannot be run."""

    code = "tmux"


class ScreenGone(TmuxError):
    """The watched terminal session has ended."""

    code = "screen_gone"


class ProtocolError(DevSessionsError):
    """The two ends of a transport have different protocols."""

    code = "protocol"


def unexpected(error: Exception) -> DevSessionsError:
    """The error for an exception that nobody expected."""
    return DevSessionsError(
        f"unexpected {type(error).__name__}: {error}",
        next="the same command with DEV_SESSIONS_DEBUG=1 shows where; please report it",
    )


def from_wire(value: dict[str, Any]) -> DevSessionsError:
    """The error that `DevSessionsError.to_wire` described; for an unknown code, of the base class."""
    kind = _BY_CODE.get(value.get("code", "error"), DevSessionsError)
    error = kind(str(value.get("message", "unknown error")))
    error.code = str(value.get("code", "error"))
    error.data = dict(value.get("data") or {})
    return error
