"""Ending Claude Code and what it left running."""

from __future__ import annotations

import signal

from ... import processes
from ..ending import end
from . import evidence

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
    mark = f"DEV_SESSIONS_KEY={session.record['key']}".encode()
    steps = (signal.SIGTERM, grace), (signal.SIGKILL, grace)
    relatives = processes.family(process[0] if process and processes.is_running(*process) else 0, mark)
    if process is not None:
        end([process], *steps)
    tmux.kill_session(evidence.pane_name(session), session.record["key"])
    # Those that were born while the agent was ending are found by the mark only.
    end(sorted({*relatives, *processes.family(0, mark)}), *steps)
