"""Declares all commands as Typer commands of their functions, and runs a command line through Typer.

A function takes `out`, `client` if it needs one, and parameters whose annotations name options (`opt.Id`).
"""

from __future__ import annotations

from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from ..errors import UsageError
from . import doctor, gateway, messages, options, questions, recipes, runs, sessions, skills, templates
from .output import Output, interrupted, version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

app = typer.Typer(
    name="dev-sessions",
    help="Start, brief, await and end other coding agents. Results go to stdout, messages to stderr; every error names "
    "the next command to run. Exit codes: 0 done, 1 error, 2 usage, 3 no such session, 4 not supported, 5 the turn "
    "failed or the agent died, 6 waiting for input, 124 timed out, 130 Ctrl-C, 255 host unreachable.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The names in annotations of commands, most of which they import only for a type checker.
_TYPES = {"opt": options, **dict.fromkeys(("Client", "Creation", "Output", "TextSource"), object)}


def run(argv: Sequence[str]) -> int:
    """Run a command line through Typer and return the exit code; Typer's errors are shown like our own."""
    out = Output(json="--json" in argv)
    try:
        code: Any = typer.main.get_command(app).main(args=list(argv), prog_name="dev-sessions", standalone_mode=False)
    except typer.Exit as end:
        return int(end.exit_code)
    except typer.Abort:
        return interrupted()
    except Exception as error:
        # Typer exports the base class of its usage errors only as a base of BadParameter.
        if not isinstance(error, typer.BadParameter.__mro__[1]):
            raise
        message = str(error.format_message())  # type: ignore[attr-defined]
        if not argv:  # without arguments, the message is the help
            out.note(message)
            return 2
        # The error about an option without its value does not name the command.
        words = argv[:1] if argv[0] in typer.main.get_group(app).commands else []
        command = getattr(getattr(error, "ctx", None), "command_path", " ".join(["dev-sessions", *words]))
        return out.error(UsageError(message.rstrip("."), next=f"{command} --help"))
    return int(code or 0)


def _typed(
    function: Callable[..., int], without: Sequence[str] = (), json: Any = options.Json, **changed: Any
) -> Callable[..., int]:
    """A function that Typer can call: it has the options that the command's parameters name, and --json.

    Args:
        without: options of a group (see `options.GROUPS`) that the command does not have.
        json: the declaration of --json; None if the command does not have it.
        changed: other defaults for options of its groups; for `message`, another declaration.
    """
    own = _parameters(function)
    shown: list[Parameter] = []
    groups: dict[str, list[str]] = {}
    for one in own:
        if one.name in options.GROUPS:
            mine = {option.name for option in own}
            members = [
                _changed(option, changed)
                for option in _parameters(options.GROUPS[one.name])
                if option.name not in without and option.name not in mine
            ]
            groups[one.name] = [option.name for option in members]
            shown += members
        elif one.name not in ("out", "client"):
            shown.append(one)
    if json is not None:
        shown.append(Parameter("json", Parameter.KEYWORD_ONLY, default=False, annotation=json))

    @wraps(function)
    def command(**given: Any) -> int:
        out = Output(json=given.pop("json", False))

        def act() -> int:
            for name, members in groups.items():
                given[name] = options.GROUPS[name](**{option: given.pop(option) for option in members})
            if all(one.name != "client" for one in own):
                return function(out, **given)
            return out.run(lambda out, client: function(out, client, **given))

        return out.guard(act)

    # Typer reads these two.
    command.__signature__ = Signature([one.replace(kind=Parameter.KEYWORD_ONLY) for one in shown])  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _parameters(function: Callable[..., object]) -> list[Parameter]:
    """The parameters of a function, their annotations evaluated."""
    return [*signature(function, locals=_TYPES, eval_str=True).parameters.values()]


def _changed(option: Parameter, changed: dict[str, Any]) -> Parameter:
    if option.name == "message":
        return option.replace(annotation=changed.get("message", option.annotation))
    return option.replace(default=changed.get(option.name, option.default))


def _version(value: bool) -> None:
    if value:
        raise typer.Exit(version(Output()))


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None: ...


def _add(into: typer.Typer, function: Callable[..., int], name: str = "", **changes: Any) -> None:
    """Add a command with its function's name, or another one; see `_typed` for `changes`."""
    into.command(name or function.__name__.rstrip("_").replace("_", "-"))(_typed(function, **changes))


_add(app, sessions.create, without=["message"])
_add(app, messages.send)
_add(app, messages.ask)
_add(app, messages.wait)
_add(app, messages.last_message)
_add(app, sessions.status)
_add(app, sessions.list_)
_add(app, sessions.interrupt)
_add(app, sessions.revive)
_add(app, sessions.goal)
_add(app, questions.pending)
_add(app, questions.respond)
_add(app, sessions.attach)
_add(app, messages.logs, json=options.JsonEntries)
_add(app, sessions.inspect)
_add(app, sessions.events, json=options.JsonErrors)
_add(app, sessions.kill)
_add(app, recipes.sync_delegate, message=options.Task)
_add(app, runs.fan_out, without=["message", "file", "description", "id"])
_not_asked = ["mode", "description", "model", "id", "group", "continue_at_reset"]
_add(app, runs.consult, without=_not_asked, message=options.Question, template="consult", permissions="plan")
_add(app, recipes.handoff, message=options.Task, template="handoff")
_add(app, skills.install, "install-skill")
_add(app, doctor.doctor)
app.command(hidden=True)(_typed(messages.courier))

_templates = typer.Typer(no_args_is_help=True, help="Show the briefing templates, including yours and the project's.")
_add(_templates, templates.list_)
_add(_templates, templates.show)
_add(_templates, templates.render)
app.add_typer(_templates, name="templates")

_skill = typer.Typer(help="Print the skills of this version.")
_add(_skill, skills.show)
app.add_typer(_skill, name="skill")

_gateway = typer.Typer(help="Let agents in containers use this machine's sessions.", invoke_without_command=True)
_gateway.callback()(_typed(gateway.serve, json=None))
_add(_gateway, gateway.install)
_add(_gateway, gateway.uninstall)
_add(_gateway, gateway.status)
app.add_typer(_gateway, name="gateway")
