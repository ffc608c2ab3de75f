"""The options of whatever starts a session or briefs one, said once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import names
from . import completing

Cli = Annotated[str, typer.Option("--cli", help="The agent to start.", autocompletion=completing.agents)]
Mode = Annotated[str, typer.Option("-m", "--mode", help="Where it runs: native.")]
Path = Annotated[str, typer.Option("-p", "--path", help="The folder to work in.")]
Description = Annotated[str, typer.Option("-d", "--description", help="What it is for, shown by list.")]
Model = Annotated[str | None, typer.Option("--model", help="The model to ask for.")]
NewId = Annotated[str | None, typer.Option("--id", help="The id; default: a free name such as fizz-top.")]
Env = Annotated[
    list[str] | None, typer.Option("--env", metavar="K=V", help="Set a variable for the agent; repeatable.")
]
Trust = Annotated[
    bool | None,
    typer.Option(
        "--trust/--no-trust",
        help="If you have not trusted the folder in the agent: accept it as it is, or start without the project's "
        "settings, hooks, servers and instructions. Default: accept it with full permissions only.",
        show_default=False,
    ),
]
ContinueAtReset = Annotated[
    bool,
    typer.Option(
        "--continue-at-reset", help="At a usage limit, let it wait and go on by itself once that resets (Claude Code)."
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print the id alone.")]
Template = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="NAME",
        help="Brief it by a template; a message given too is its variable `task`.",
        autocompletion=completing.templates,
    ),
]
Var = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="K=V", help="A variable of the template; K=@FILE reads a file; repeatable."),
]


def pairs(words: list[str] | None, option: str = "--env") -> dict[str, str]:
    """NAME=VALUE words as a table.

    Raises:
        typer.BadParameter: a word is none.
    """
    found = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not equals:
            raise typer.BadParameter(f"{word!r} is not NAME=VALUE", param_hint=option)
        found[name] = value
    return found


def for_create(
    cli: str,
    mode: str,
    permissions: str,
    path: str,
    description: str,
    model: str | None,
    group: str | None,
    env: list[str] | None,
    trust: bool | None,
    continue_at_reset: bool = False,
) -> dict[str, Any]:
    """What `create` takes.

    Raises:
        typer.BadParameter: a group cannot be called so.
    """
    if group is not None and not names.is_group(group):
        raise typer.BadParameter(f"invalid group {group!r}: {names.GROUPS}", param_hint="--group")
    return {
        "cli": cli,
        "mode": mode,
        "permissions": permissions,
        "path": path,
        "description": description,
        "model": model,
        "group": group,
        "env": pairs(env),
        "trust": trust,
        "continue_at_reset": continue_at_reset,
    }
