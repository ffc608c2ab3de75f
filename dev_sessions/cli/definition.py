"""The commands, defined once, with Typer. Each body is in `commands.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import commands, completion, composites, gateway, machine
from .options import (
    Answers,
    Choose,
    File,
    Follow,
    Group,
    Id,
    Ids,
    Interrupting,
    Json,
    Key,
    RequestId,
    Settled,
    Text,
    Timeout,
    Which,
    Why,
)
from .output import Output
from .starting import Quiet, Template, Var, pairs, starts_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..client import Creation
    from .output import Command

app = typer.Typer(
    name="dev-sessions",
    help="Start, brief, await and end other coding agents. Results go to stdout, talk to stderr; every error names "
    "the next command to run. Exit codes: 0 done, 1 error, 2 usage, 3 no such session, 4 not supported, 5 the turn "
    "failed or the agent died, 6 waiting for input, 124 timed out, 130 Ctrl-C, 255 host unreachable.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        raise typer.Exit(commands.version(Output(), False))


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None: ...


@app.command()
@starts_session()
def create(
    *,
    options: Creation,
    file: File = None,
    template: Template = None,
    var: Var = None,
    quiet: Quiet = False,
    request_id: RequestId = None,
    json: Json = False,
) -> int:
    """Start an agent; returns when it is ready for input.

    With --file or --template, also send it its first message.
    """
    said = (None, file, template, pairs(var, "--var"))
    return _run(json, lambda out, client: commands.create(out, client, quiet, said, request_id, options))


@app.command()
def send(
    id: Id,
    message: Text = None,
    file: File = None,
    template: Template = None,
    var: Var = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="Keep it for a turn of its own; without a message: deliver what is queued.")
    ] = False,
    interrupt: Interrupting = False,
    request_id: RequestId = None,
    json: Json = False,
) -> int:
    """Give a session a message; returns when the agent has it.

    That is before it has answered: see wait, and ask. Prints `started` (a new turn), `accepted` (the agent is busy
    and has taken it) or `queued`.
    """
    if queue and interrupt:
        raise typer.BadParameter("--queue waits for the running turn, --interrupt ends it: choose one")
    said = (message, file, template, pairs(var, "--var"))
    return _run(
        json,
        lambda out, client: commands.send(
            out, client, id, commands.text_for(out, client, id, *said), request_id, queue, interrupt
        ),
    )


@app.command()
def ask(
    id: Id,
    message: Text = None,
    file: File = None,
    template: Template = None,
    var: Var = None,
    timeout: Timeout = None,
    interrupt: Interrupting = False,
    request_id: RequestId = None,
    json: Json = False,
) -> int:
    """Send a message, wait for its turn, and print the reply."""
    said = (message, file, template, pairs(var, "--var"))
    return _run(
        json,
        lambda out, client: commands.ask(
            out, client, id, commands.text_for(out, client, id, *said) or "", timeout, request_id, interrupt
        ),
    )


@app.command()
def wait(
    ids: Ids = None,
    group: Group = None,
    any: Annotated[bool, typer.Option("--any", help="Return with the first session that ends.")] = False,
    timeout: Timeout = None,
    interval: Annotated[
        float,
        typer.Option("-i", "--interval", metavar="S", min=0.05, help="Look that often even if nothing was reported."),
    ] = 1.0,
    turn: Annotated[
        int | None, typer.Option("--turn", metavar="T", help="Wait for this turn only; send has printed its number.")
    ] = None,
    settled: Settled = False,
    goal: Annotated[
        bool, typer.Option("--goal", help="Wait until the goal is complete, or no longer pursued (Codex).")
    ] = False,
    next_turn: Annotated[
        bool, typer.Option("--next-turn", help="Wait for the next turn that ends from now on, whosoever's it is.")
    ] = False,
    json: Json = False,
) -> int:
    """Wait until all that was sent is done, or the agent asks.

    Prints completed, failed, interrupted, exited, waiting_for_input (it asks something), or idle (nothing was ever
    sent); of several sessions a line each, as they end. On a timeout the agent goes on: wait again. With --group it
    waits for all sessions that are in the group now. With --goal it prints complete, or (exit code 5) paused, blocked,
    usageLimited, budgetLimited or cleared.
    """
    return _run(
        json,
        lambda out, client: commands.wait(
            out,
            ids or [],
            any,
            group,
            lambda: client.wait(
                ids or None,
                any=any,
                group=group,
                turn=turn,
                settled=settled,
                goal=goal,
                next_turn=next_turn,
                timeout=timeout,
                interval=interval,
            ),
        ),
    )


@app.command("last-message")
def last_message(
    id: Id,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many messages.")] = 1,
    json: Json = False,
) -> int:
    """Print what the agent has said last, without tool calls.

    While a turn runs, what was said before it.
    """
    return _run(json, lambda out, client: commands.last_message(out, client, id, count))


@app.command()
def status(id: Id, json: Json = False) -> int:
    """Print idle, working, waiting_for_input, or exited."""
    return _run(json, lambda out, client: commands.status(out, client, id))


@app.command("list")
def list_(
    group: Group = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            metavar="S",
            help="Only those that are idle, working, waiting_for_input or exited.",
            autocompletion=completion.statuses,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """List the sessions, also those whose agent has exited."""
    return _run(json, lambda out, client: commands.list_(out, client, group, status))


@app.command()
def interrupt(id: Id, json: Json = False) -> int:
    """End the running turn."""
    return _run(json, lambda out, client: commands.interrupt(out, client, id))


@app.command()
def revive(
    ids: Ids = None,
    all: Annotated[bool, typer.Option("--all", help="Every session whose agent is gone.")] = False,
    json: Json = False,
) -> int:
    """Start agents that are gone again, with what was said.

    The session keeps its id, folder, permissions and environment, and the agent its conversation. The turn that was
    cut is interrupted; what is queued gets delivered. An agent that is alive is left alone.
    """
    return _run(json, lambda out, client: commands.revive(out, client, ids or [], all))


@app.command()
def goal(
    id: Id,
    objective: Annotated[str | None, typer.Argument(help="What the agent shall pursue. None: show the goal.")] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", help="The objective, from a file; - for stdin.")] = None,
    budget: Annotated[int | None, typer.Option("--budget", help="At most so many tokens.")] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Start no more turns for it.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with it.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Take it away.")] = False,
    json: Json = False,
) -> int:
    """Show, set or change an objective that the agent pursues over turns by itself (Codex)."""
    acts = [name for name, wanted in (("pause", pause), ("resume", resume), ("clear", clear)) if wanted]
    if len(acts) > 1:
        raise typer.BadParameter("only one of --pause, --resume and --clear")
    act = acts[0] if acts else None
    return _run(
        json, lambda out, client: commands.goal(out, client, id, commands.message(objective, file), budget, act)
    )


@app.command()
def pending(group: Group = None, json: Json = False) -> int:
    """Print every question that a session waits for an answer to, the oldest first."""
    return _run(json, lambda out, client: commands.pending(out, client, group))


@app.command()
def respond(
    id: Id,
    why: Why = None,
    allow: Annotated[bool, typer.Option("--allow", help="Allow it, this time.")] = False,
    always: Annotated[
        bool, typer.Option("--always", help="Allow it, and the same in this session from now on.")
    ] = False,
    deny: Annotated[bool, typer.Option("--deny", help="Refuse it; the agent goes on.")] = False,
    choose: Choose = None,
    text: Annotated[str | None, typer.Option("--text", metavar="T", help="Answer in your own words.")] = None,
    answers: Answers = None,
    key: Key = None,
    question: Which = None,
    request_id: RequestId = None,
    json: Json = False,
) -> int:
    """Answer exactly one question of a session; the turn goes on.

    An answer goes through the agent's own channel, never through its keyboard, and only to the question that is open.
    --key is for dialogs of the agent's program that are no question of the agent; it prints the screen that follows.
    """
    return _run(
        json,
        lambda out, client: commands.respond(
            out,
            client.respond(
                id,
                request_id,
                question=question,
                allow=allow,
                always=always,
                deny=deny,
                why=why,
                choose=choose,
                text=text,
                answers=commands.answers_in(answers),
                key=key,
            ),
        ),
    )


@app.command()
def attach(id: Id, json: Json = False) -> int:
    """Put your terminal on the live session.

    Leave Claude as you leave any tmux session, with the prefix (Ctrl-B, if you have not changed it), then d; leave
    Codex with Ctrl-C, twice.
    """
    return _run(json, lambda out, client: commands.attach(out, client, id))


@app.command()
def logs(
    id: Id,
    follow: Follow = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print an array of entries, with --follow an object a line; errors included.")
    ] = False,
) -> int:
    """Print the whole conversation from its beginning.

    It tells who said what, and what the tools were given and returned. With --follow it goes on with what is said,
    until the agent exits or is killed. --json tells more of each entry, the thinking too.
    """
    return _run(json, lambda out, client: commands.logs(out, client, id, follow))


@app.command()
def inspect(id: Id, json: Json = False) -> int:
    """Print all that is on record of a session.

    That is: how it was created, its status, its files (and which of them are missing), its process, its terminal, and
    the version of the agent.
    """
    return _run(json, lambda out, client: commands.inspect(out, client, id))


@app.command()
def events(
    ids: Ids = None,
    follow: Follow = False,
    json: Annotated[bool, typer.Option("--json", help="Print errors as JSON, too.")] = False,
) -> int:
    """Print what was done and reported, a JSON object a line.

    That is what was done to the sessions named (else: to all) and what their agents reported, oldest first. With
    --follow it goes on with what happens, until all sessions named are killed.
    """
    return _run(json, lambda out, client: commands.events(out, client, ids or [], follow))


@app.command()
def kill(
    ids: Ids = None,
    all: Annotated[bool, typer.Option("--all", help="Kill every session.")] = False,
    group: Group = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Only sessions that were not used for so long (30m, 72h, 7d) and are not at work.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """End agents, and all that they have started.

    The sessions are listed no more; their folders go to the archive in the state folder. Name them by their ids, or
    choose them by --all, --group and --older-than (with several of these, all have to hold). What is chosen is never
    the session that the command runs in, nor one that created it.
    """
    return _run(json, lambda out, client: commands.kill(out, client, ids or [], all, group, older_than))


composites.add_to(app)
machine.add_to(app)
app.add_typer(gateway.gateway, name="gateway")


@app.command(hidden=True)
def courier(id: Id, json: Json = False) -> int:
    """Deliver what is queued for a session."""
    return _run(json, lambda out, client: commands.courier(out, client, id))


def _run(json: bool, command: Command) -> int:
    return Output(json=json).run(command)
