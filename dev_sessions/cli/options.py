"""The arguments and options of all commands, each declared once.

A command names them as the types of its parameters (`id: opt.Id`), where `input` finds them. Options that several
commands share form a group (see `GROUPS`).
"""

from __future__ import annotations

import os
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer
from typer import Argument, Option

from .. import names
from ..backends import own_programs
from ..errors import UsageError
from . import completion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..client import Creation
    from .text import TextSource

Context = typer.Context
_OWN = own_programs()


def _argument(metavar: str | None, help: str, complete: Any = None) -> Any:
    return Argument(metavar=metavar, help=help, autocompletion=complete, show_default=False)


def _option(names: str, metavar: str | None, help: str, complete: Any = None, **more: Any) -> Any:
    return Option(*names.split(), metavar=metavar, help=help, autocompletion=complete, **more)


# Sessions.
Id = Annotated[str, _argument("ID", "The session's id.", completion.ids)]
Ids = Annotated[list[str] | None, _argument("[ID]...", "Session ids.", completion.ids)]
Group = Annotated[str | None, _option("--group", "G", "Only sessions of this group.", completion.groups)]
_STATUSES = "Only sessions that are idle, working, waiting_for_input or exited."
Status = Annotated[str | None, _option("--status", "S", _STATUSES, completion.statuses)]
AllExited = Annotated[bool, Option("--all", help="Every session whose agent has exited.")]
AllSessions = Annotated[bool, Option("--all", help="Kill every session.")]
_AGE = "Only sessions not working and unused for this long (30m, 72h, 7d)."
OlderThan = Annotated[str | None, _option("--older-than", "AGE", _AGE)]

# Output.
Json = Annotated[bool, Option("--json", help="Print one JSON value, errors included.")]
_ENTRIES = "Print an array of entries, or one object per line with --follow; errors included."
JsonEntries = Annotated[bool, Option("--json", help=_ENTRIES)]
JsonErrors = Annotated[bool, Option("--json", help="Print errors as JSON, too.")]
Quiet = Annotated[bool, Option("-q", "--quiet", help="Print only the id.")]
Follow = Annotated[bool, Option("--follow", help="Keep printing new ones; Ctrl-C stops it (exit 130).")]
Count = Annotated[int, Option("-n", "--count", min=1, help="How many messages.")]

# Messages.
Message = Annotated[str | None, _argument("[MESSAGE]", "The message; put -- before one that starts with '-'.")]
Task = Annotated[str | None, _argument("TASK", "What to do.")]
Question = Annotated[str | None, _argument("QUESTION", "What to ask.")]
TaskVariable = Annotated[str | None, _argument(None, "The variable `task`.")]
File = Annotated[str | None, _option("-f --file", "FILE", "Read the message from a file; - is standard input.")]
_TEMPLATE = "Send a briefing made from a template; a message becomes its variable `task`."
Template = Annotated[str | None, _option("--template", "NAME", _TEMPLATE, completion.templates)]
TemplateName = Annotated[str, _argument("NAME", "The template's name.", completion.templates)]
ForSession = Annotated[str | None, _option("--session", "ID", "Fill it in for this session.", completion.ids)]
_VARIABLE = "A variable of the template; K=@FILE reads a file; repeatable."
Var = Annotated[list[str] | None, _option("--var", "K=V", _VARIABLE)]
_QUEUE = "Hold it for a turn of its own; without a message, deliver queued ones."
Queue = Annotated[bool, Option("--queue", help=_QUEUE)]
EndTurn = Annotated[bool, Option("--interrupt", help="End the running turn first.")]
_REQUEST = "Repeating the command with the same R returns the first answer again."
RequestId = Annotated[str | None, _option("--request-id", "R", _REQUEST)]

# Waiting.
Timeout = Annotated[float | None, _option("-t --timeout", "S", "Give up after this many seconds (exit 124).", min=0)]
First = Annotated[bool, Option("--any", help="Return when the first session is done.")]
_INTERVAL = "Check this often even if nothing is reported."
Interval = Annotated[float, _option("-i --interval", "S", _INTERVAL, min=0.05)]
Turn = Annotated[int | None, _option("--turn", "T", "Wait only for this turn; send printed its number.")]
Settled = Annotated[bool, Option("--settled", help="Also wait for commands left in the background.")]
ForGoal = Annotated[bool, Option("--goal", help="Wait until the goal is complete or no longer pursued (Codex).")]
NextTurn = Annotated[bool, Option("--next-turn", help="Wait for the next turn that ends from now on.")]

# The goal.
Objective = Annotated[str | None, Argument(help="What the agent should pursue. Omit it to show the goal.")]
ObjectiveFile = Annotated[str | None, Option("--file", "-f", help="Read the objective from a file; - for stdin.")]
Budget = Annotated[int | None, Option("--budget", help="Spend at most this many tokens.")]
Pause = Annotated[bool, Option("--pause", help="Start no more turns for the goal.")]
Resume = Annotated[bool, Option("--resume", help="Go on with the goal.")]
Clear = Annotated[bool, Option("--clear", help="Remove the goal.")]

# Answers.
Why = Annotated[str | None, _argument("[WHY]", "With --deny: why, for the agent.")]
Allow = Annotated[bool, Option("--allow", help="Allow it this time.")]
Always = Annotated[bool, Option("--always", help="Allow it, and the same in this session from now on.")]
Deny = Annotated[bool, Option("--deny", help="Refuse it; the agent goes on.")]
_CHOICE = "Choose an option; 2.1 is option 1 of question 2; repeatable."
Choose = Annotated[list[str] | None, _option("--choose", "N|LABEL", _CHOICE)]
OwnWords = Annotated[str | None, _option("--text", "T", "Answer in your own words.")]
_ANSWERS = "Answers to all questions, as JSON; - is standard input."
Answers = Annotated[str | None, _option("--answers", "FILE", _ANSWERS)]
Key = Annotated[str | None, _option("--key", "K", "Press a key in a dialog of the agent's program.")]
WhichQuestion = Annotated[str | None, _option("--question", "Q", "Which question; needed if several are open.")]

# Recipes.
_ASKED = f"An agent to ask; repeatable. Default: {' and '.join(program.name for program in _OWN)}."
Agents = Annotated[list[str] | None, _option("--cli", None, _ASKED, completion.agents)]
_SOURCES = "A plan, or one file for each task."
Sources = Annotated[list[str] | None, Argument(metavar="PLAN.yaml | TASKFILE...", help=_SOURCES)]
RunId = Annotated[str | None, _option("--resume", "RUN", "Continue an interrupted run.")]
MaxParallel = Annotated[int | None, _option("--max-parallel", "N", "How many at once; default 8.", min=1)]
Worktree = Annotated[bool, Option("--worktree", help="A git worktree and a branch for each; nothing is merged.")]
_JOIN = "Give all replies to one more session, with this template."
Join = Annotated[str | None, _option("--join", "TEMPLATE", _JOIN, completion.templates)]
Stream = Annotated[bool, Option("--stream", help="Print each result as a line of JSON as soon as it is known.")]
Keep = Annotated[bool, Option("--keep", help="Keep sessions that are done.")]

# Skills.
_FOLDERS = ", ".join(os.path.join(program.folder, "skills") for program in _OWN)
SkillName = Annotated[str, _argument("NAME", "The skill's name.")]
Everywhere = Annotated[bool, Option("--global", help="For you, in every project (the default).")]
Local = Annotated[bool, Option("--local", help=f"For this project: {_FOLDERS}.")]
Force = Annotated[bool, Option("--force", help="Also replace edited files; keeps a backup.")]
Check = Annotated[bool, Option("--check", help="Write nothing; exit 1 if there is anything to do.")]
Diff = Annotated[bool, Option("--diff", help="Write nothing; show how installed files differ.")]
Uninstall = Annotated[bool, Option("--uninstall", help="Remove them.")]
DryRun = Annotated[bool, Option("--dry-run", help="Write nothing; print what would be done.")]

# The gateway.
_PORT = "Listen on this port of 127.0.0.1 and ::1 [default: 6767]."
Port = Annotated[int | None, Option("--port", help=_PORT, show_default=False)]
_SOCKET = "Listen on a unix socket, to mount into containers (Linux)."
Socket = Annotated[str | None, _option("--socket", "PATH", _SOCKET)]
_ALLOW = "Let agents work, and callers reach sessions, below this folder [default: your home folder]."
AllowFolder = Annotated[list[str] | None, _option("--allow", "FOLDER", _ALLOW)]
AllFolders = Annotated[bool, Option("--all-sessions", help="Let callers reach your sessions in all other folders too.")]

# A new session.
Cli = Annotated[str, _option("--cli", None, "The agent to start.", completion.agents)]
Mode = Annotated[str, Option("-m", "--mode", help="Where it runs: native.")]
_PERMISSIONS = "full never asks; edit edits files and asks for all else; ask always asks; plan only reads."
Permissions = Annotated[str, _option("--permissions", None, _PERMISSIONS, completion.permissions)]
Path = Annotated[str, Option("-p", "--path", help="The folder to work in.")]
Description = Annotated[str, Option("-d", "--description", help="What it is for; list shows it.")]
Model = Annotated[str | None, Option("--model", help="The model to use.")]
NewId = Annotated[str | None, Option("--id", help="The id; default: a free name such as fizz-top.")]
_GROUP = "A group; list, wait and kill can select by it."
NewGroup = Annotated[str | None, _option("--group", "G", _GROUP, completion.groups)]
Env = Annotated[list[str] | None, _option("--env", "K=V", "Set a variable for the agent; repeatable.")]
_TRUST = (
    "For a folder that you have not trusted in the agent yet: accept it as it is, or start without the project's "
    "settings, hooks, servers and instructions. Default: accept it with full permissions only."
)
Trust = Annotated[bool | None, Option("--trust/--no-trust", help=_TRUST, show_default=False)]
_RESET = "At a usage limit, let it wait and go on when the limit resets (Claude Code)."
ContinueAtReset = Annotated[bool, Option("--continue-at-reset", help=_RESET)]


def _creation(
    cli: Cli = "claude",
    mode: Mode = "native",
    permissions: Permissions = "full",
    path: Path = ".",
    description: Description = "",
    model: Model = None,
    id: NewId = None,
    group: NewGroup = None,
    env: Env = None,
    trust: Trust = None,
    continue_at_reset: ContinueAtReset = False,
) -> Creation:
    """The arguments of `create`."""
    if group is not None and not names.is_group(group):
        raise UsageError(f"invalid group {group!r}: {names.GROUPS}", next="choose another --group")
    options: Creation = {
        "cli": cli,
        "mode": mode,
        "permissions": permissions,
        "path": path,
        "description": description,
        "model": model,
        "group": group,
        "env": pairs(env, "--env"),
        "trust": trust,
        "continue_at_reset": continue_at_reset,
    }
    return options if id is None else {**options, "id": id}


def _source(message: Message = None, file: File = None, template: Template = None, var: Var = None) -> TextSource:
    return message, file, template, pairs(var, "--var")


def _copy_of(agent: str) -> object:
    return Annotated[bool, Option(f"--{agent}", help=f"{agent.capitalize()}'s copy.")]


def _agents(**flags: bool) -> list[str]:
    return [name for name, is_set in flags.items() if is_set]


_agents.__signature__ = Signature(  # type: ignore[attr-defined]
    [Parameter(one.name, Parameter.KEYWORD_ONLY, default=False, annotation=_copy_of(one.name)) for one in _OWN]
)

# Groups of options. A parameter with one of these names stands for all parameters of the function, and gets its result.
GROUPS: dict[str, Callable[..., object]] = {"options": _creation, "source": _source, "agents": _agents}


def pairs(words: list[str] | None, option: str) -> dict[str, str]:
    """The NAME=VALUE words of an option as a table.

    Raises:
        UsageError: a word has no `=`.
    """
    for word in words or []:
        if "=" not in word:
            raise UsageError(f"invalid {option} {word!r}: it is not NAME=VALUE", next=f"write {option} NAME=VALUE")
    return dict(word.partition("=")[::2] for word in words or [])
