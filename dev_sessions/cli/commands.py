"""What each command does with a client and prints: the one body behind the Typer definition and the fast path."""

from __future__ import annotations

import os
import shlex
import sys

from .. import config
from ..errors import UsageError
from ..model import LIMIT, WORKING, asker, ways
from ..text import stripped
from .output import outcome_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..client import Client, Creation, Json
    from .output import Output

    # A message, a file with one, the name of a template, and the values of its variables.
    Said = tuple[str | None, str | None, str | None, dict[str, str]]


def version(out: Output, json: bool) -> int:
    from .. import __version__

    out.result({"version": __version__}, f"dev-sessions {__version__}")
    return 0


def create(out: Output, client: Client, quiet: bool, said: Said, request_id: str | None, options: Creation) -> int:
    _, file, template, given = said
    if template is not None or given:
        from ..recipes import briefing
        from . import briefs

        record = briefing.create(client, briefs.brief(out, None, file, template, given), request_id, **options)
    else:
        record = client.create(request_id, message=message(None, file), **options)
    out.result(record, record["id"] if quiet else f"Created session {record['id']}")
    return 0


def send(
    out: Output, client: Client, id: str, text: str | None, request_id: str | None, queue: bool, interrupt: bool
) -> int:
    receipt = client.send(id, text, request_id, queue=queue, interrupt=interrupt)
    out.result(receipt, f"{receipt['receipt']} (turn {receipt['turn']}{_by_file(receipt)})")
    return 0


def ask(
    out: Output, client: Client, id: str, text: str, timeout: float | None, request_id: str | None, interrupt: bool
) -> int:
    outcome = client.ask(id, text, timeout, request_id, interrupt=interrupt)
    reply = outcome["reply"]
    out.result(outcome, reply)
    if outcome["outcome"] != "completed":
        explain(out, outcome)
    return outcome_code([outcome["outcome"]])


def wait(out: Output, ids: list[str], any: bool, group: str | None, outcomes_of: Callable[[], list[Json]]) -> int:
    """Show the outcomes that `outcomes_of` waits for; those of several sessions as they come."""
    several = group is not None or len(set(ids)) > 1

    def show(outcome: dict[str, Any]) -> None:
        out.result(outcome, _word(outcome, named=several))
        explain(out, outcome)

    if several and not any:
        out.on_part = show  # a line each as they end
    outcomes = outcomes_of()
    if out.json:
        out.result(outcomes if several and not any else outcomes[0], None)
    elif out.on_part is None:
        show(outcomes[0])
    return outcome_code([outcome["outcome"] for outcome in outcomes])


def last_message(out: Output, client: Client, id: str, count: int = 1) -> int:
    texts = client.last_message(id, count)
    out.result(texts, "\n\n".join(texts) if texts else None)
    return 0


def status(out: Output, client: Client, id: str) -> int:
    state = client.status(id)
    out.result(state, state["status"])
    if state["question"]:
        _show_question(out, id, state["question"])
    elif state["error"]:
        out.note(f"{id}: {state['error']}")
    elif state.get("reason") == LIMIT:
        why = "it goes on by itself after" if state["status"] == WORKING else "its last turn ended by"
        out.note(f"{id}: {why} {limit(state['resets_at'])}")
    return 0


def list_(out: Output, client: Client, group: str | None = None, status: str | None = None) -> int:
    rows = client.list(group=group, status=status)
    if not rows and not out.json:
        out.note("no sessions; start one with: dev-sessions create")
    out.result(rows, _table(rows) if rows else None)
    return 0


def interrupt(out: Output, client: Client, id: str) -> int:
    done = client.interrupt(id)
    out.result(done, done["outcome"] or done["status"])
    return 0


def revive(out: Output, client: Client, ids: list[str], all: bool) -> int:
    def show(one: dict[str, Any]) -> None:
        ended = ", ".join(str(turn) for turn in one["interrupted"])
        cut = f" (interrupted: turn {ended})" if ended else ""
        queued = f" (queued: {len(one['queued'])})" if one["outcome"] == "revived" and one["queued"] else ""
        revived = one["outcome"] == "revived"
        out.result(one, f"Revived session {one['session']}{cut}{queued}" if revived else _still_there(one))

    out.on_part = show  # as they start: an error may follow
    done = client.revive(ids or None, all)
    if out.json:
        out.result(done, None)
    return 0


def _still_there(one: dict[str, Any]) -> str:
    return f"Session {one['session']} is alive ({one['status']}); nothing was changed"


def pending(out: Output, client: Client, group: str | None = None) -> int:
    found = client.pending(group=group)
    if not found and not out.json:
        out.note("no session asks anything")
    out.result(found, "\n\n".join(question_text(one["session"], one) for one in found) if found else None)
    return 0


def respond(out: Output, done: Json) -> int:
    if done["screen"] is not None:
        out.result(done, done["screen"])
    else:
        out.result(done, stripped(f"answered ({done['kind']}{asker(done)})"))
    return 0


def answers_in(file: str | None) -> Any:
    """The JSON value in a file (`-`: standard input); None if no file is named.

    Raises:
        UsageError: it cannot be read, or it is no JSON.
    """
    import json

    if file is None:
        return None
    try:
        return json.loads(message(None, file) or "")
    except ValueError as error:
        raise UsageError(f"{file} is no JSON: {error}", next='for example: ["Red", ["Small", "Large"]]') from error


def kill(
    out: Output,
    client: Client,
    ids: list[str],
    all: bool = False,
    group: str | None = None,
    older_than: str | None = None,
) -> int:
    def show(one: dict[str, Any]) -> None:
        out.result(one, f"Killed session {one['session']}")

    out.on_part = show  # as they end: an error may follow
    done = client.kill(ids or None, all=all, group=group, older_than=older_than)
    if out.json:
        out.result(done, None)
    return 0


def logs(out: Output, client: Client, id: str, follow: bool) -> int:
    first = [True]

    def text(entry: dict[str, Any]) -> str | None:
        if entry["kind"] == "thinking":
            return None
        gap = "" if first[0] else "\n"
        first[0] = False
        return f"{gap}{_label(entry)}:\n{entry['text']}"

    out.stream(client.logs(id, follow), text, lines=follow)
    if first[0] and not out.json:
        out.note(f"nothing has been said in {id} yet; send it something: dev-sessions send {id} MESSAGE")
    return 0


def _label(entry: dict[str, Any]) -> str:
    """Who speaks, and in which turn."""
    turn = f" (turn {entry['turn']})" if entry["turn"] and entry["role"] != "tool" else ""
    if entry["role"] == "tool":
        result = {"call": "", "result": ", failed" if entry["failed"] else ", result"}.get(entry["kind"])
        return entry["kind"] if result is None else f"tool {entry['tool'] or 'call'}{result}"
    return f"{entry['role']}{turn}"


def inspect(out: Output, client: Client, id: str) -> int:
    found = client.inspect(id)
    out.result(found, _lines(found))
    return 0


def _lines(found: dict[str, Any]) -> str:
    """An aligned `key: value` line for each value; files and the like below their key."""
    import time

    lines: list[tuple[str, Any]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            lines += [(f"{name}.{inner}", one) for inner, one in value.items()]
        else:
            lines.append((name, value))
    width = max(len(name) for name, _ in lines) + 1
    shown = []
    for name, value in lines:
        if name in ("created_at", "last_used"):
            value = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
        if name.partition("files.")[2] in found["missing"]:
            value = f"{value} (missing)"
        shown.append(f"{name + ':':{width}} {_word_of(value)}".rstrip())
    return "\n".join(shown)


def _word_of(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else " ".join(stripped(str(value)).split())


def events(out: Output, client: Client, ids: list[str], follow: bool) -> int:
    out.stream(client.events(ids or None, follow), lines=True)
    return 0


def attach(out: Output, client: Client, id: str) -> int:
    argv = client.attach(id)["argv"]
    if out.json:
        out.result({"session": id, "argv": argv}, None)
        return 0
    environ = config.load().environ
    if config.gateway_wanted(environ):
        out.result(None, shlex.join(argv))
        out.note("run this line on the host: its terminals are not in this container")
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("attach needs a terminal", next=f"in a terminal: {shlex.join(argv)}")
    # Inside tmux a nested client would be refused; a person who runs `attach` there means it.
    return os.execvpe(argv[0], argv, {name: value for name, value in environ.items() if name != "TMUX"})


def courier(out: Output, client: Client, id: str) -> int:
    done = client.courier(id)
    out.result(done, f"delivered {done['delivered']}")
    return 0


def goal(out: Output, client: Client, id: str, objective: str | None, budget: int | None, act: str | None) -> int:
    found = client.goal(id, objective=objective, budget=budget, act=act)
    if found is None:
        out.result(None, "no goal")
        return 0
    budgeted = f" of {found['token_budget']}" if found["token_budget"] else ""
    out.result(found, f"{found['status']} ({found['tokens_used']}{budgeted} tokens): {stripped(found['objective'])}")
    return 0


def message(text: str | None, file: str | None) -> str | None:
    """The message of `send` or `ask`: the argument, or a file's content (`-`: standard input).

    Raises:
        UsageError: both are given, or the file cannot be read as UTF-8.
    """
    if text is not None and file is not None:
        raise UsageError("give the message as an argument or with --file, not both", next="leave one of the two away")
    if file is None:
        return text
    try:
        if file == "-":
            return sys.stdin.buffer.read().decode()
        with open(os.path.expanduser(file), "rb") as opened:
            return opened.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text", next="send the path of the file instead") from error
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", next="check the path") from error


def text_for(
    out: Output,
    client: Client,
    id: str,
    text: str | None,
    file: str | None,
    template: str | None,
    given: dict[str, str],
) -> str | None:
    """The message to a session that is there, out of a template if one is named; None if none was given."""
    if template is None and not given:
        return message(text, file)
    from . import briefs

    said = briefs.brief(out, text, file, template, given)
    return said.for_session(client.inspect(id))


def _by_file(receipt: dict[str, Any]) -> str:
    return ", by file" if receipt["via"] == "file" else ""


def _word(outcome: dict[str, Any], named: bool) -> str:
    word = "working" if outcome["outcome"] == "timeout" else outcome["outcome"]
    return f"{outcome['session']} {word}" if named else str(word)


def explain(out: Output, outcome: dict[str, Any]) -> None:
    if out.json:
        return
    id = outcome["session"]
    if outcome["question"]:
        _show_question(out, id, outcome["question"])
    elif outcome["error"]:
        turn = f" (turn {outcome['turn']})" if outcome["turn"] else ""
        out.note(f"{id}{turn}: {outcome['error']}")
        if outcome.get("reason") == LIMIT:
            out.note(f"{id}{turn}: {limit(outcome['resets_at'])}")


def limit(resets_at: float | None) -> str:
    """What a person is told of a limit that ended a turn."""
    if resets_at is None:
        return "a limit of the account; the agent does not say when it resets"
    import time

    return f"a limit of the account, which resets at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(resets_at))}"


def _show_question(out: Output, id: str, question: dict[str, Any]) -> None:
    if out.json:
        return
    out.note(question_text(id, question))


def question_text(id: str, question: dict[str, Any]) -> str:
    return f"{_asked(id, question)}\nanswer it: {ways(id, question)}"


def _asked(id: str, question: dict[str, Any]) -> str:
    """A question as a person reads it, with the numbers by which its options are chosen."""
    head, parts = f"{id} asks ({question['kind']}{asker(question)}, {question['id']}): ", question["parts"]
    if len(parts) < 2:
        return stripped(head + question["text"] + _numbered("", question["options"]))
    lines = (f"\n {n}. {part['text']}{_numbered(f'{n}.', part['options'])}" for n, part in enumerate(parts, 1))
    return stripped(head + "".join(lines))


def _numbered(lead: str, options: list[dict[str, Any]]) -> str:
    return "".join(f"\n  {lead}{number}{'' if lead else '.'} {one['label']}" for number, one in enumerate(options, 1))


_COLUMNS = ("id", "cli", "status", "mode", "path", "description", "last used")


def _table(rows: list[dict[str, Any]]) -> str:
    import time

    now = time.time()
    cells = [_COLUMNS]
    for row in rows:
        description = " ".join(stripped(row["description"]).split())
        ago = _ago(now - row["last_used"])
        cells.append((row["id"], row["cli"], row["status"], row["mode"], stripped(row["path"]), description, ago))
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return "just now"
