"""The commands about templates, and briefings made from them."""

from __future__ import annotations

from .. import config, templates
from ..errors import UsageError
from ..recipes.briefing import Briefing, briefing
from .text import message as text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import options as opt
    from .output import Output
    from .text import TextSource


def list_(out: Output) -> int:
    """List the templates: name, source, purpose."""
    settings = config.load()
    available = templates.every(settings.home, settings.cwd)
    width = max(len(one.name) for one in available)
    lines = [f"{one.name:{width}}  {one.source:8}  {one.description}" for one in available]
    out.result([one.to_json() for one in available], "\n".join(lines))
    return 0


def show(out: Output, name: opt.TemplateName) -> int:
    """Print a template's file."""
    template = found(out, name)
    out.result({**template.to_json(), "text": template.text}, template.text)
    return 0


def render(
    out: Output,
    name: opt.TemplateName,
    message: opt.TaskVariable = None,
    file: opt.File = None,
    var: opt.Var = None,
    session: opt.ForSession = None,
) -> int:
    """Print a briefing as it would be sent; nothing is sent."""
    from .options import pairs

    brief = briefing_of(out, (message, file, name, pairs(var, "--var")))
    if session is None:
        settings = config.load()
        record: dict[str, Any] = {"id": "(not created yet)", "path": settings.cwd, "parent": settings.parent}
        record["depth"] = settings.depth + 1
    else:
        from ..app import client

        record = client().inspect(session)
    text = brief.for_session(record)
    out.result({"name": name, "text": text}, text)
    return 0


def briefing_of(out: Output, source: TextSource, required: bool = False) -> Briefing:
    """The briefing from a command line: a message, or a template and its values.

    Args:
        required: raise an error if there is neither a template nor a message.

    Raises:
        UsageError: the values do not fit the template, or there is no template or message.
    """
    text, file, template, given = source
    if template is None and given:
        raise UsageError("--var fills a template, and none was named", next="name one with --template NAME")
    brief = briefing(None if template is None else found(out, template), text_of(text, file), values(given))
    if required and brief.template is None and not (brief.text or "").strip():
        raise UsageError("there is no task", next="give a task, --file FILE, or --template NAME")
    return brief


def found(out: Output, name: str) -> templates.Template:
    """The template of that name; stderr says so if it comes with the project.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    settings = config.load()
    template = templates.find(name, settings.home, settings.cwd)
    if template.source == "project":
        others = templates.candidates(name, settings.home, settings.cwd)[1:]
        instead = f", instead of the {others[0]} one" if others else ""
        out.note(f"the template {name} comes with this project: {template.path}{instead}")
    return template


def values(given: dict[str, str]) -> dict[str, str]:
    """The values of variables. `@FILE` is the content of a file; `@@...` is a text that begins with @."""

    def value(word: str) -> str:
        if word.startswith("@@"):
            return word[1:]
        return (text_of(None, word[1:]) or "") if word.startswith("@") else word

    return {name: value(word) for name, word in given.items()}
