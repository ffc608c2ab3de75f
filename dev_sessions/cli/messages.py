"""The commands that exchange messages with a session: send, ask, wait, last-message, logs."""

from __future__ import annotations

from ..errors import UsageError
from .output import outcome_code
from .render import explain
from .text import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..client import Client
    from . import options as opt
    from .output import Output
    from .text import TextSource


def send(
    out: Output,
    client: Client,
    id: opt.Id,
    source: TextSource,
    queue: opt.Queue = False,
    interrupt: opt.EndTurn = False,
    request_id: opt.RequestId = None,
) -> int:
    """Send a session a message; returns when the agent has it.

    It does not wait for the reply: see wait and ask. Prints `started` (a new turn), `accepted` (the agent is busy and
    has taken the message) or `queued`.
    """
    if queue and interrupt:
        raise UsageError(
            "--queue waits for the running turn, --interrupt ends it: choose one", next="dev-sessions send --help"
        )
    receipt = client.send(id, _text_for(out, client, id, source), request_id, queue=queue, interrupt=interrupt)
    by_file = ", by file" if receipt["via"] == "file" else ""
    out.result(receipt, f"{receipt['receipt']} (turn {receipt['turn']}{by_file})")
    return 0


def ask(
    out: Output,
    client: Client,
    id: opt.Id,
    source: TextSource,
    timeout: opt.Timeout = None,
    interrupt: opt.EndTurn = False,
    request_id: opt.RequestId = None,
) -> int:
    """Send a message, wait for its turn, and print the reply."""
    text = _text_for(out, client, id, source) or ""
    outcome = client.ask(id, text, timeout, request_id, interrupt=interrupt)
    out.result(outcome, outcome["reply"])
    if outcome["outcome"] != "completed":
        explain(out, outcome)
    return outcome_code([outcome["outcome"]])


def wait(
    out: Output,
    client: Client,
    ids: opt.Ids = None,
    group: opt.Group = None,
    any: opt.First = False,
    timeout: opt.Timeout = None,
    interval: opt.Interval = 1.0,
    turn: opt.Turn = None,
    settled: opt.Settled = False,
    goal: opt.ForGoal = False,
    next_turn: opt.NextTurn = False,
) -> int:
    """Wait until all messages are done, or the agent asks something.

    Prints completed, failed, interrupted, exited, waiting_for_input (the agent asks something), or idle (nothing was
    ever sent); for several sessions, one line for each when it ends. After a timeout the agent goes on, so you can wait
    again. With --group it waits for all sessions that are in the group now. With --goal it prints complete, or (exit
    code 5) paused, blocked, usageLimited, budgetLimited or cleared.
    """
    several = group is not None or len(set(ids or [])) > 1

    def show(outcome: dict[str, Any]) -> None:
        word = "working" if outcome["outcome"] == "timeout" else outcome["outcome"]
        out.result(outcome, f"{outcome['session']} {word}" if several else word)
        explain(out, outcome)

    if several and not any:
        out.on_part = show
    outcomes = client.wait(
        ids or None,
        any=any,
        group=group,
        turn=turn,
        settled=settled,
        goal=goal,
        next_turn=next_turn,
        timeout=timeout,
        interval=interval,
    )
    if out.json:
        out.result(outcomes if several and not any else outcomes[0], None)
    elif out.on_part is None:
        show(outcomes[0])
    return outcome_code([outcome["outcome"] for outcome in outcomes])


def last_message(out: Output, client: Client, id: opt.Id, count: opt.Count = 1) -> int:
    """Print the agent's last message, without tool calls.

    While a turn is running, it prints the last message before it.
    """
    texts = client.last_message(id, count)
    out.result(texts, "\n\n".join(texts) if texts else None)
    return 0


def logs(out: Output, client: Client, id: opt.Id, follow: opt.Follow = False) -> int:
    """Print the whole conversation from its beginning.

    It shows what each side wrote, and the input and result of each tool. With --follow it goes on until the agent exits
    or is killed. --json has more about each entry, and the thinking too.
    """
    first = True

    def text(entry: dict[str, Any]) -> str | None:
        nonlocal first
        if entry["kind"] == "thinking":
            return None
        gap, first = "" if first else "\n", False
        return f"{gap}{_label(entry)}:\n{entry['text']}"

    out.stream(client.logs(id, follow), text, lines=follow)
    if first and not out.json:
        out.note(f"the conversation of {id} is empty; send it something: dev-sessions send {id} MESSAGE")
    return 0


def _label(entry: dict[str, Any]) -> str:
    """The heading of an entry: who wrote it, and in which turn."""
    if entry["role"] != "tool":
        return f"{entry['role']} (turn {entry['turn']})" if entry["turn"] else str(entry["role"])
    result = {"call": "", "result": ", failed" if entry["failed"] else ", result"}.get(entry["kind"])
    return str(entry["kind"]) if result is None else f"tool {entry['tool'] or 'call'}{result}"


def courier(out: Output, client: Client, id: opt.Id) -> int:
    """Deliver the queued messages of a session."""
    done = client.courier(id)
    out.result(done, f"delivered {done['delivered']}")
    return 0


def _text_for(out: Output, client: Client, id: str, source: TextSource) -> str | None:
    """The message for an existing session, made from a template if one is named; None without a message."""
    text, file, template, given = source
    if template is None and not given:
        return message(text, file)
    from .templates import briefing_of

    return briefing_of(out, source).for_session(client.inspect(id))
