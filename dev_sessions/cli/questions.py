"""The commands for questions of agents: pending, respond."""

from __future__ import annotations

from ..errors import UsageError
from ..model import asker
from ..text import stripped
from .render import question as shown
from .text import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..client import Client
    from . import options as opt
    from .output import Output


def pending(out: Output, client: Client, group: opt.Group = None) -> int:
    """Print every open question, the oldest first."""
    found = client.pending(group=group)
    if not found and not out.json:
        out.note("no question is open")
    out.result(found, "\n\n".join(shown(one["session"], one) for one in found) if found else None)
    return 0


def respond(
    out: Output,
    client: Client,
    id: opt.Id,
    why: opt.Why = None,
    allow: opt.Allow = False,
    always: opt.Always = False,
    deny: opt.Deny = False,
    choose: opt.Choose = None,
    text: opt.OwnWords = None,
    answers: opt.Answers = None,
    key: opt.Key = None,
    question: opt.WhichQuestion = None,
    request_id: opt.RequestId = None,
) -> int:
    """Answer exactly one question of a session; the turn goes on.

    An answer goes through the agent's own channel, never through its keyboard, and only to the question that is open.
    --key is for dialogs of the agent's program, which the agent does not report; it prints the screen that follows.
    """
    done = client.respond(
        id,
        request_id,
        question=question,
        allow=allow,
        always=always,
        deny=deny,
        why=why,
        choose=choose,
        text=text,
        answers=_answers_in(answers),
        key=key,
    )
    answered = stripped(f"answered ({done['kind']}{asker(done)})")
    out.result(done, answered if done["screen"] is None else done["screen"])
    return 0


def _answers_in(file: str | None) -> Any:
    """The JSON value in a file (`-`: standard input); None if no file is named."""
    if file is None:
        return None
    import json

    try:
        return json.loads(message(None, file) or "")
    except ValueError as error:
        raise UsageError(f"invalid JSON in {file}: {error}", next='for example: ["Red", ["Small", "Large"]]') from error
