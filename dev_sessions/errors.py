"""The errors that we raise on purpose, each with a code.

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
        if "code" in cls.__dict__:  # else it is a special case, which crosses a transport as its base class
            _BY_CODE[cls.code] = cls

    def to_wire(self) -> dict[str, Any]:
        """The error for a transport."""
        return {"code": self.code, "message": self.message, "data": self.data}


_BY_CODE: dict[str, type[DevSessionsError]] = {}


class UsageError(DevSessionsError):
    code = "usage"  # the call itself is wrong


class SessionNotFound(DevSessionsError):
    code = "not_found"  # there is no session with that id


class Unsupported(DevSessionsError):
    code = "unsupported"  # this backend cannot do that


class LaunchFailed(DevSessionsError):
    code = "launch_failed"  # the agent did not start; nothing is left behind


class DeliveryFailed(DevSessionsError):
    code = "not_delivered"  # the agent has certainly not taken the message


class DeliveryUnknown(DevSessionsError):
    code = "delivery_unknown"  # there was no receipt in time


class AgentExited(DevSessionsError):
    code = "exited"  # the agent's program is gone


class TurnFailed(DevSessionsError):
    code = "turn_failed"  # the turn failed or was interrupted


class WaitingForInput(DevSessionsError):
    code = "waiting_for_input"  # a question or dialog is open


class QuestionGone(DevSessionsError):
    code = "question_gone"  # the question is not open any more; nothing was sent


class TimedOut(DevSessionsError):
    code = "timeout"  # the caller's timeout passed; the agent goes on


class HostUnreachable(DevSessionsError):
    code = "unreachable"  # the machine that holds the sessions cannot be reached


class StoreError(DevSessionsError):
    code = "store"  # the state folder cannot be read or written


class TmuxError(DevSessionsError):
    code = "tmux"  # tmux refused a command, or cannot be run


class ScreenGone(TmuxError):
    code = "screen_gone"  # the watched terminal session has ended


class ProtocolError(DevSessionsError):
    code = "protocol"  # the two ends of a transport have different protocols


def unexpected(error: Exception) -> DevSessionsError:
    """The error for an unexpected exception."""
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
