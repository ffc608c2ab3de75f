"""The options of whatever starts a session or briefs one, said once."""

from __future__ import annotations

from functools import wraps
from inspect import Signature, signature
from typing import Annotated, Any

import typer

from .. import names
from . import completion
from .options import NewGroup, Permissions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from inspect import Parameter

    from ..client import Creation

Cli = Annotated[str, typer.Option("--cli", help="The agent to start.", autocompletion=completion.agents)]
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
        autocompletion=completion.templates,
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


def new_session(
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
    """Turn options into arguments of `create`. The parameters declare these options for all commands.

    Raises:
        typer.BadParameter: a group cannot be called so.
    """
    if group is not None and not names.is_group(group):
        raise typer.BadParameter(f"invalid group {group!r}: {names.GROUPS}", param_hint="--group")
    options: Creation = {
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
    return options if id is None else {**options, "id": id}


def starts_session(*without: str, **defaults: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Replace a command's parameter `options` by the options of `new_session`, and pass it their values.

    Args:
        without: options that the command does not have.
        defaults: defaults that are different for this command.
    """

    def declared(command: Callable[..., int]) -> Callable[..., int]:
        shared = [
            one.replace(default=defaults.get(one.name, one.default))
            for one in _parameters(new_session)
            if one.name not in without
        ]

        @wraps(command)
        def with_options(**given: Any) -> int:
            options = new_session(**{one.name: given.pop(one.name) for one in shared})
            return command(options=options, **given)

        every = [one for own in _parameters(command) for one in (shared if own.name == "options" else [own])]
        # Typer reads these two, and could not evaluate `Creation`.
        with_options.__signature__ = Signature([one.replace(kind=one.KEYWORD_ONLY) for one in every])  # type: ignore[attr-defined]
        with_options.__annotations__ = {}
        return with_options

    return declared


def _parameters(function: Callable[..., object]) -> Iterable[Parameter]:
    """The parameters, with annotations that are evaluated. (At run time `Creation` is not there.)"""
    return signature(function, locals={"Creation": dict}, eval_str=True).parameters.values()
