"""What the recipes do and print: `sync-delegate` and `handoff`. The runs of several sessions are in `running`."""

from __future__ import annotations

from ..client import new_request_id
from ..recipes import work
from ..recipes.briefing import create
from ..recipes.plan import Branch
from . import briefs
from .commands import explain
from .output import outcome_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..client import Client, Creation
    from .commands import Said
    from .output import Output

# How much of a command is shown. Characters.
_LINE = 100


def sync_delegate(
    out: Output,
    client: Client,
    said: Said,
    timeout: float | None,
    settled: bool,
    keep: bool,
    request_id: str | None,
    options: Creation,
) -> int:
    branch = Branch("delegate", briefs.told(out, said), options, timeout, settled)
    log = work.Notes()
    request_id = request_id or new_request_id()

    def tell(phase: str) -> None:
        if phase == work.WORKING and not out.json:
            out.note(f"{log.state()['session']} works on it")

    try:
        ended = work.carry(client, branch, request_id, log, tell)
        gone = not keep and work.clean_up(client, log)
    except KeyboardInterrupt:
        if "session" in log.state():
            out.note(_how_to_go_on(log.state(), request_id))
        raise
    out.result({**ended, "kept": not gone}, ended["reply"])
    explain(out, ended)
    if gone and log.state().get("left"):
        out.note(ended_with(ended["session"], log.state()["left"]))
    if not gone and not keep and not out.json:
        out.note(_why_kept(ended["session"], ended["outcome"], log.state()))
    return outcome_code([ended["outcome"]])


def _how_to_go_on(state: dict[str, Any], request_id: str) -> str:
    """After a Ctrl-C, when the session is there."""
    id = state["session"]
    if "turn" in state:
        return f"{id} goes on: dev-sessions wait {id}, then dev-sessions last-message {id}"
    return (
        f"{id} is there, and may not have been told its task: the same command with --request-id {request_id} "
        f"goes on with it, dev-sessions kill {id} ends it"
    )


def ended_with(id: str, left: list[str]) -> str:
    """What still ran in a session as it was ended."""
    return f"{id} was ended, and with it what still ran there: {'; '.join(_in_a_line(one) for one in left)}"


def _in_a_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _LINE else f"{words[:_LINE]}..."


def _why_kept(id: str, outcome: str, state: dict[str, Any]) -> str:
    """Why the session is still there, and what can be done with it."""
    if "unkilled" in state:
        return f"{id} could not be ended: {state['unkilled']}"
    if outcome == "timeout":
        return f"{id} goes on: dev-sessions wait {id}"
    if outcome == "waiting_for_input":
        return f"{id} is kept, and its turn goes on with your answer: then dev-sessions wait {id}"
    if outcome == "completed" and state.get("busy"):
        return f"{id} is at work again, and kept: dev-sessions wait {id} --next-turn, or dev-sessions kill {id}"
    if outcome == "completed":
        return f"{id} is blocked, and kept: dev-sessions ask {id} MESSAGE, or dev-sessions kill {id}"
    way = f"dev-sessions revive {id}" if outcome == "exited" else f"dev-sessions ask {id} MESSAGE"
    return f"{id} is kept: dev-sessions logs {id}, {way}, or dev-sessions kill {id}"


def handoff(out: Output, client: Client, said: Said, quiet: bool, options: Creation) -> int:
    record = create(client, briefs.told(out, said), None, **options)
    id = record["id"]
    text = f"Session {id} has taken over\nsit down at it: dev-sessions attach {id}"
    out.result(record, id if quiet else text)
    return 0
