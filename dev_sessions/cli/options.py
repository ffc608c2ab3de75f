"""The arguments and options that several commands share, and those that take some lines to say."""

from __future__ import annotations

from typing import Annotated

import typer

from . import completion

Id = Annotated[
    str,
    typer.Argument(metavar="ID", help="The session's id.", show_default=False, autocompletion=completion.ids),
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Session ids.", show_default=False, autocompletion=completion.ids),
]
Group = Annotated[
    str | None,
    typer.Option("--group", metavar="G", help="Only the sessions of this group.", autocompletion=completion.groups),
]
Text = Annotated[
    str | None,
    typer.Argument(
        metavar="[MESSAGE]", help="The message; one that begins with '-' goes behind --.", show_default=False
    ),
]
File = Annotated[
    str | None,
    typer.Option("-f", "--file", metavar="FILE", help="Read the message from a file; - is standard input."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value, errors included.")]
RequestId = Annotated[
    str | None,
    typer.Option("--request-id", metavar="R", help="The same R again answers as the first time and never acts twice."),
]
Timeout = Annotated[
    float | None,
    typer.Option("-t", "--timeout", metavar="S", min=0, help="Give up after so many seconds (exit 124)."),
]
Settled = Annotated[bool, typer.Option("--settled", help="Also wait for commands left in the background.")]
Follow = Annotated[bool, typer.Option("--follow", help="Go on with what comes; Ctrl-C leaves it (exit 130).")]
Interrupting = Annotated[bool, typer.Option("--interrupt", help="End the running turn first.")]
Permissions = Annotated[
    str,
    typer.Option(
        "--permissions",
        help="full runs everything unasked; edit edits files and asks for the rest; ask asks; plan only reads.",
        autocompletion=completion.permissions,
    ),
]
NewGroup = Annotated[
    str | None,
    typer.Option(
        "--group", metavar="G", help="A group to list, await and kill it by.", autocompletion=completion.groups
    ),
]
Why = Annotated[
    str | None, typer.Argument(metavar="[WHY]", help="With --deny: what the agent is told.", show_default=False)
]
Choose = Annotated[
    list[str] | None,
    typer.Option("--choose", metavar="N|LABEL", help="An option; 2.1: of the second question; repeatable."),
]
Answers = Annotated[
    str | None,
    typer.Option("--answers", metavar="FILE", help="Answers to all questions, as JSON; - is standard input."),
]
Key = Annotated[str | None, typer.Option("--key", metavar="K", help="Press a key on a dialog of the agent's program.")]
Which = Annotated[
    str | None, typer.Option("--question", metavar="Q", help="The question that is meant; else the only one open.")
]
