"""Ending Claude Code and what it left running."""

from __future__ import annotations

import signal

from ...system import processes
from .. import descendants
from ..terminate import end
from . import observe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...terminal.tmux import Tmux
    from ..base import Session


def stop(session: Session, tmux: Tmux, grace: float) -> None:
    """End the agent, its tmux session, and every process that it started; see `base.Backend.stop`.

    SIGTERM first: Claude then writes its transcript's end and removes its status file (about 50 ms).

    Args:
        grace: seconds to end by itself, for the agent and then for what it left running.
    """
    process = session.folder.process()
    steps = (signal.SIGTERM, grace), (signal.SIGKILL, grace)
    known = descendants.found(session, process[0] if process and processes.is_running(*process) else 0)
    if process is not None:
        end([process], *steps)
    tmux.kill_session(observe.pane_name(session), session.record["key"])
    descendants.end_all(session, known, *steps)
