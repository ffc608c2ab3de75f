"""Every error that dev-sessions raises on purpose.

    DevSessionsError            code "error"
    ├── UsageError              "usage"               the call itself is wrong
    ├── SessionNotFound         "not_found"           no session of that id
    ├── Unsupported             "unsupported"         this backend cannot do that
    ├── LaunchFailed            "launch_failed"       the agent did not start; nothing is left behind
    ├── DeliveryFailed          "not_delivered"       known: the agent has not taken the message
    ├── DeliveryUnknown         "delivery_unknown"    no receipt within the bound
    ├── AgentExited             "exited"              the agent's program is gone
    ├── TurnFailed              "turn_failed"         the turn failed or was interrupted
    ├── WaitingForInput         "waiting_for_input"   a question or dialog is open
    ├── QuestionGone            "question_gone"       what was to be answered is not open any more; nothing was sent
    ├── TimedOut                "timeout"             the bound given by the caller passed; the agent goes on
    ├── HostUnreachable         "unreachable"         no way to the machine that holds the sessions
    ├── StoreError              "store"               the state folder cannot be read or written
    ├── TmuxError               "tmux"                tmux refused a command, or cannot be run
    │   └── ScreenGone          "screen_gone"         the terminal session that was being watched has ended
    └── ProtocolError           "protocol"            the two ends of a transport do not speak the same language

An error knows nothing of exit codes (`cli/output.py` has that table). It crosses a transport as
``{"code", "message", "data"}`` and is turned back into its class by `from_wire`. ``data["next"]`` is the command to
run next.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class DevSessionsError(Exception):
    """Root of the tree: anything that a user can be told in a sentence.

    Args:
        message: one sentence, without a trailing newline.
        next: the command (or act) that gets the user on; shown on a line of its own.
        data: JSON-ready details, part of the `--json` output.
    """

    code = "error"

    def __init__(self, message: str, next: str | None = None, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = dict(data)
        if next is not None:
            self.data["next"] = next

    def to_wire(self) -> dict[str, Any]:
        """The error as it crosses a transport."""
        return {"code": self.code, "message": self.message, "data": self.data}


class UsageError(DevSessionsError):
    code = "usage"


class SessionNotFound(DevSessionsError):
    code = "not_found"


class Unsupported(DevSessionsError):
    code = "unsupported"


class LaunchFailed(DevSessionsError):
    code = "launch_failed"


class DeliveryFailed(DevSessionsError):
    code = "not_delivered"


class DeliveryUnknown(DevSessionsError):
    code = "delivery_unknown"


class AgentExited(DevSessionsError):
    code = "exited"


class TurnFailed(DevSessionsError):
    code = "turn_failed"


class WaitingForInput(DevSessionsError):
    code = "waiting_for_input"


class QuestionGone(DevSessionsError):
    code = "question_gone"


class TimedOut(DevSessionsError):
    code = "timeout"


class HostUnreachable(DevSessionsError):
    code = "unreachable"


class StoreError(DevSessionsError):
    code = "store"


class TmuxError(DevSessionsError):
    code = "tmux"


class ScreenGone(TmuxError):
    code = "screen_gone"


class ProtocolError(DevSessionsError):
    code = "protocol"


_BY_CODE: dict[str, type[DevSessionsError]] = {
    kind.code: kind
    for kind in (
        DevSessionsError,
        UsageError,
        SessionNotFound,
        Unsupported,
        LaunchFailed,
        DeliveryFailed,
        DeliveryUnknown,
        AgentExited,
        TurnFailed,
        WaitingForInput,
        QuestionGone,
        TimedOut,
        HostUnreachable,
        StoreError,
        TmuxError,
        ScreenGone,
        ProtocolError,
    )
}


def unexpected(error: Exception) -> DevSessionsError:
    """What a user is told of an error that nobody has foreseen."""
    return DevSessionsError(
        f"unexpected {type(error).__name__}: {error}",
        next="the same command with DEV_SESSIONS_DEBUG=1 shows where; please report it",
    )


def from_wire(value: dict[str, Any]) -> DevSessionsError:
    """Rebuild an error from `DevSessionsError.to_wire`; an unknown code becomes the root class."""
    kind = _BY_CODE.get(value.get("code", "error"), DevSessionsError)
    error = kind(str(value.get("message", "unknown error")))
    error.code = str(value.get("code", "error"))
    error.data = dict(value.get("data") or {})
    return error
