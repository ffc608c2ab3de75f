"""Starting Claude Code again on the conversation that a session had (`claude --resume`, 2.1.150 to 2.1.330).

Claude finds a conversation by its id, in the transcripts of the folder that it is started in, and goes on in the same
transcript under the same id. Of one that never got a prompt there is nothing to resume.
"""

from __future__ import annotations

import os
import uuid

from ...errors import LaunchFailed, WaitingForInput
from ...terminal.tmux import Tmux
from . import container, observe, transcript, version
from . import launch as starting
from .startup import begin
from .stop import stop

# A turn's end is reported before it is written down, by less than this. Seconds.
_UNWRITTEN = 5.0

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Launch, Session


def revive(launch: Launch, grace: float) -> None:
    """Start the agent again; see `base.Revives.revive`.

    Args:
        grace: seconds to end by itself, for what an earlier life left running.
    """
    session = launch.session
    program = starting.binary_again(session)
    launch = launch._replace(environment=_environment(launch))
    if session.contained:
        launch = launch._replace(environment=container.outside(launch.environment, launch.path))
        container.refuse_shared(program, launch.environment, launch.path)
    else:
        starting.refuse_root(launch.environment, launch.permissions)
    version.refuse_unsupported(program, launch.environment)
    id, words = _conversation(launch)
    tmux = _tmux(session)
    stop(session, tmux, grace)
    try:
        begin(launch, program, tmux, id, words)
    except WaitingForInput:
        raise
    except BaseException:
        stop(session, tmux, grace)
        raise


def _environment(launch: Launch) -> dict[str, str]:
    kept = starting.kept_environment(launch.session)
    if kept is None:
        launch.say(f"the environment that {launch.session.id} had is lost; it gets that of this command")
    return dict(launch.environment) if kept is None else kept


def _conversation(launch: Launch) -> tuple[str, tuple[str, ...]]:
    """Claude's id of the conversation, and how to ask for it; a new one if the last had not begun yet.

    A person's /clear begins another one under another id.

    Raises:
        LaunchFailed: there was a conversation, and its transcript is gone.
    """
    session = launch.session
    reports = [(payload.at, fields) for payload, fields in observe.reports(session)]
    path = observe.transcript_path(session, [fields for _, fields in reports])
    if path and transcript.has_begun(path):
        id = os.path.basename(path).removesuffix(".jsonl")
        return id, ("--resume", id)
    of_it = [(at, fields) for at, fields in reports if observe.told_transcript(session, fields) == path]
    told = [(at, str(fields.get("hook_event_name"))) for at, fields in of_it]
    if any(event == "Stop" and at < told[-1][0] - _UNWRITTEN for at, event in told):
        raise LaunchFailed(
            f"the conversation of {session.id} is gone: there is no transcript {path or ''}".rstrip(),
            next=f"restore that file, or dev-sessions kill {session.id}",
        )
    if any(event == "UserPromptSubmit" for _, event in told):
        launch.say(f"Claude had written nothing of the conversation of {session.id} down yet; it begins anew")
    id = str(uuid.uuid4())
    return id, ("--session-id", id)


def _tmux(session: Session) -> Tmux:
    """The tmux server that the agent ran in; the caller's own, if the folder of its socket is gone."""
    socket = str(session.private.get("socket") or "")
    return Tmux(session.environ, socket if os.path.isdir(os.path.dirname(socket)) else None)
