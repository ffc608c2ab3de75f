"""The parameters of an agent's start, for `create` and `revive`."""

from __future__ import annotations

from .. import config
from ..backends.base import Launch
from ..system import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .context import Context, Session


def agent_environment(context: Context, depth: int, added: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of an agent at that depth, without the variables that name its session."""
    return {
        **config.agent_environment(context.settings.environ),
        **(added or {}),
        "DEV_SESSIONS_HOME": context.settings.home,
        "DEV_SESSIONS_DEPTH": str(depth),
    }


def plan(session: Session, environment: Mapping[str, str], path: str) -> Launch:
    """The parameters for starting a session's agent, from its record.

    Args:
        environment: see `agent_environment`.
        path: the folder to work in, checked and resolved.
    """
    context, record = session.context, session.record

    def leave_out(names: Sequence[str]) -> None:
        session.change(left_out=[*names])
        if names:
            context.say(
                f"{record['cli']} runs without {', '.join(names)} of {record['path']}, which you have not trusted "
                "there; create --trust accepts the folder as it is"
            )

    return Launch(
        session=session,
        path=path,
        permissions=record["permissions"],
        model=record["model"],
        environment={**environment, "DEV_SESSIONS_ID": session.id, processes.KEY: record["key"]},
        trust=record.get("trust"),
        timeout=context.settings.ready_timeout,
        say=context.say,
        keep=lambda private: session.change(backend=private),
        leave_out=leave_out,
        continue_at_reset=session.continues,
    )
