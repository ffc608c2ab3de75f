"""Restarts Claude Code with the conversation that a session had.

`claude --resume` finds a conversation by its id, among the transcripts of the folder in which it is started, and
continues in the same transcript under the same id. It cannot resume a conversation without a prompt (2.1.221 to
2.1.330).
"""

from __future__ import annotations

import os
import uuid

from ...errors import LaunchFailed, WaitingForInput
from ...terminal.tmux import Tmux
from . import container, hooks, transcript, version
from . import launch as starting
from .startup import begin
from .stop import stop

# A turn's end is reported less than this before it is written to the transcript. Seconds.
_UNWRITTEN = 5.0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Launch


def revive(launch: Launch) -> None:
    """Start the agent again; see `base.Revives.revive`."""
    session = launch.session
    program = starting.program_again(session)
    environment = starting.kept_environment(session)
    if environment is None:
        launch.say(f"the environment that {session.id} had is lost; it gets that of this command")
        environment = dict(launch.environment)
    if session.contained:
        environment = container.outside(environment, launch.path)
        container.refuse_shared(program, environment, launch.path)
    else:
        starting.refuse_root(environment, launch.permissions)
    launch = launch._replace(environment=environment)
    version.refuse_unsupported(program, environment)
    id, words = _conversation(launch)
    # The tmux server in which the agent ran, or the caller's own if the folder of its socket no longer exists.
    socket = str(session.private.get("socket") or "")
    tmux = Tmux(session.environ, socket if os.path.isdir(os.path.dirname(socket)) else None)
    stop(session, tmux)
    try:
        begin(launch, program, tmux, id, words)
    except WaitingForInput:
        raise
    except BaseException:
        stop(session, tmux)
        raise


def _conversation(launch: Launch) -> tuple[str, tuple[str, ...]]:
    """Claude's id of the conversation, and the options that name it; a new one if the last one had not begun yet.

    A person's /clear begins another conversation with another id.

    Raises:
        LaunchFailed: there was a conversation, and its transcript no longer exists.
    """
    session = launch.session
    reports = hooks.reports(session)
    path = transcript.find(session, reports)
    if path and transcript.has_begun(path):
        id = os.path.basename(path).removesuffix(".jsonl")
        return id, ("--resume", id)
    own = [
        (payload.at, fields.get("hook_event_name"))
        for payload, fields in reports
        if transcript.named(session, fields) == path
    ]
    if any(event == "Stop" and at < own[-1][0] - _UNWRITTEN for at, event in own):
        raise LaunchFailed(
            f"the conversation of {session.id} is gone: there is no transcript {path or ''}".rstrip(),
            next=f"restore that file, or dev-sessions kill {session.id}",
        )
    if any(event == "UserPromptSubmit" for _, event in own):
        launch.say(f"Claude had written nothing of the conversation of {session.id} down yet; it begins anew")
    id = str(uuid.uuid4())
    return id, ("--session-id", id)
