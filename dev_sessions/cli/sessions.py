"""The commands that start, show, change and end sessions."""

from __future__ import annotations

import os
import shlex
import sys

from .. import config
from ..errors import UsageError
from ..model import LIMIT, WORKING
from ..text import stripped
from .render import fields, limit, question, table
from .text import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..client import Client, Creation
    from . import options as opt
    from .output import Output
    from .text import TextSource


def create(
    out: Output,
    client: Client,
    options: Creation,
    source: TextSource,
    quiet: opt.Quiet = False,
    request_id: opt.RequestId = None,
) -> int:
    """Start an agent; returns when it is ready for input.

    With --file or --template, also send its first message.
    """
    _, file, template, given = source
    if template is not None or given:
        from ..recipes import briefing
        from .templates import briefing_of

        record = briefing.create(client, briefing_of(out, source), request_id, **options)
    else:
        record = client.create(request_id, message=message(None, file), **options)
    out.result(record, record["id"] if quiet else f"Created session {record['id']}")
    return 0


def status(out: Output, client: Client, id: opt.Id) -> int:
    """Print idle, working, waiting_for_input, or exited."""
    state = client.status(id)
    out.result(state, state["status"])
    if state["question"]:
        if not out.json:
            out.note(question(id, state["question"]))
    elif state["error"]:
        out.note(f"{id}: {state['error']}")
    elif state.get("reason") == LIMIT:
        why = "it goes on by itself after" if state["status"] == WORKING else "its last turn ended by"
        out.note(f"{id}: {why} {limit(state['resets_at'])}")
    return 0


def list_(out: Output, client: Client, group: opt.Group = None, status: opt.Status = None) -> int:
    """List the sessions, including those whose agent has exited."""
    rows = client.list(group=group, status=status)
    if not rows and not out.json:
        out.note("no sessions; start one with: dev-sessions create")
    out.result(rows, table(rows) if rows else None)
    return 0


def interrupt(out: Output, client: Client, id: opt.Id) -> int:
    """End the running turn."""
    done = client.interrupt(id)
    out.result(done, done["outcome"] or done["status"])
    return 0


def revive(out: Output, client: Client, ids: opt.Ids = None, all: opt.AllExited = False) -> int:
    """Restart agents that have exited, with their conversation.

    The session keeps its id, folder, permissions and environment. The turn that was running counts as interrupted, and
    queued messages are delivered. An agent that is running is not touched.
    """

    def show(one: dict[str, Any]) -> None:
        if one["outcome"] == "revived":
            ended = ", ".join(str(turn) for turn in one["interrupted"])
            interrupted = f" (interrupted: turn {ended})" if ended else ""
            queued = f" (queued: {len(one['queued'])})" if one["queued"] else ""
            out.result(one, f"Revived session {one['session']}{interrupted}{queued}")
        else:
            out.result(one, f"Session {one['session']} is alive ({one['status']}); nothing was changed")

    out.on_part = show  # print each at once: an error may follow
    done = client.revive(ids or None, all)
    if out.json:
        out.result(done, None)
    return 0


def goal(
    out: Output,
    client: Client,
    id: opt.Id,
    objective: opt.Objective = None,
    file: opt.ObjectiveFile = None,
    budget: opt.Budget = None,
    pause: opt.Pause = False,
    resume: opt.Resume = False,
    clear: opt.Clear = False,
) -> int:
    """Show, set or change an objective that the agent pursues by itself over several turns (Codex)."""
    acts = [name for name, is_set in (("pause", pause), ("resume", resume), ("clear", clear)) if is_set]
    if len(acts) > 1:
        raise UsageError("--pause, --resume and --clear: choose one", next="dev-sessions goal --help")
    act = acts[0] if acts else None
    found = client.goal(id, objective=message(objective, file), budget=budget, act=act)
    if found is None:
        out.result(None, "no goal")
        return 0
    budgeted = f" of {found['token_budget']}" if found["token_budget"] else ""
    out.result(found, f"{found['status']} ({found['tokens_used']}{budgeted} tokens): {stripped(found['objective'])}")
    return 0


def attach(out: Output, client: Client, id: opt.Id) -> int:
    """Connect your terminal to the live session.

    To leave Claude, press tmux's prefix (Ctrl-B, unless you have changed it), then d. To leave Codex, press Ctrl-C
    twice.
    """
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
    # tmux refuses to run inside tmux unless TMUX is unset; a person who runs `attach` there wants to do that.
    return os.execvpe(argv[0], argv, {name: value for name, value in environ.items() if name != "TMUX"})


def inspect(out: Output, client: Client, id: opt.Id) -> int:
    """Print everything on record about a session.

    This is how it was created, its status, its files (and which of them are missing), its process, its terminal, and
    the agent's version.
    """
    found = client.inspect(id)
    out.result(found, fields(found))
    return 0


def events(out: Output, client: Client, ids: opt.Ids = None, follow: opt.Follow = False) -> int:
    """Print what was done and reported, one JSON object per line.

    This is what was done to the given sessions (or to all) and what their agents reported, oldest first. With --follow
    it goes on until all given sessions have been killed.
    """
    out.stream(client.events(ids or None, follow), lines=True)
    return 0


def kill(
    out: Output,
    client: Client,
    ids: opt.Ids = None,
    all: opt.AllSessions = False,
    group: opt.Group = None,
    older_than: opt.OlderThan = None,
) -> int:
    """End agents, and everything that they have started.

    The sessions are no longer listed; their folders go to the archive in the state folder. Give their ids, or select
    them with --all, --group and --older-than (a session must match all that are given). These options never select the
    session that the command runs in, nor those that created it.
    """
    # Print each at once: an error may follow.
    out.on_part = lambda one: out.result(one, f"Killed session {one['session']}")
    done = client.kill(ids or None, all=all, group=group, older_than=older_than)
    if out.json:
        out.result(done, None)
    return 0
