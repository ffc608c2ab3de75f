"""Ends Claude Code and the processes that it left running."""

from __future__ import annotations

import signal

from ...system import processes
from .. import descendants
from ..terminate import end
from . import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...terminal.tmux import Tmux
    from ..base import Session

# How long the agent, and then the processes that it left running, may take to end after a signal. Seconds.
_GRACE = 3.0


def stop(session: Session, tmux: Tmux) -> None:
    """End the agent, its tmux session, and every process that it started; see `base.Backend.stop`.

    Claude gets SIGTERM first: it then writes the end of its transcript and removes its status file (about 50 ms).
    """
    process = session.folder.process()
    steps = (signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)
    known = descendants.found(session, process[0] if process and processes.is_running(*process) else 0)
    if process is not None:
        end([process], *steps)
    tmux.kill_session(paths.terminal(session), session.record["key"])
    descendants.end_all(session, known, *steps)
