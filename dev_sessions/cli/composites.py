"""The commands that are made of others: templates and recipes. Each body is in `briefs.py` or `recipes.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completing
from .output import Output
from .starting import Var, pairs
from .words import File, Json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The template's name.", show_default=False, autocompletion=completing.templates
    ),
]

templates = typer.Typer(no_args_is_help=True, help="Show the templates of briefings, yours and the project's included.")


def add_to(app: typer.Typer) -> None:
    """Called by `definition`, where all commands come together."""
    app.add_typer(templates, name="templates")


@templates.command("list")
def list_(json: Json = False) -> int:
    """List them: name, where it comes from, what it is for."""
    from . import briefs

    return _guarded(json, briefs.list_)


@templates.command()
def show(name: Name, json: Json = False) -> int:
    """Print a template as it stands in its file."""
    from . import briefs

    return _guarded(json, lambda out: briefs.show(out, name))


@templates.command()
def render(
    name: Name,
    message: Annotated[str | None, typer.Argument(help="The variable `task`.", show_default=False)] = None,
    file: File = None,
    var: Var = None,
    session: Annotated[
        str | None,
        typer.Option("--session", metavar="ID", help="As this session gets it.", autocompletion=completing.ids),
    ] = None,
    json: Json = False,
) -> int:
    """Print a briefing as it would be sent; nothing is sent."""
    from . import briefs

    return _guarded(json, lambda out: briefs.render(out, name, message, file, pairs(var, "--var"), session))


def _guarded(json: bool, act: Callable[[Output], int]) -> int:
    out = Output(json=json)
    return out.guard(lambda: act(out))
