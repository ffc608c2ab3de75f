"""Messages out of templates, for the commands that take --template and --var."""

from __future__ import annotations

from .. import config, templates
from ..errors import UsageError
from ..recipes.briefing import Briefing, briefing, facts
from . import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .commands import Said
    from .output import Output


def brief(out: Output, text: str | None, file: str | None, template: str | None, given: dict[str, str]) -> Briefing:
    """What is to be said: a message, or a template and its values.

    Raises:
        UsageError: the values do not fit the template, or there is no template.
    """
    if template is None and given:
        raise UsageError("--var fills a template, and none was named", next="name one with --template NAME")
    named = None if template is None else found(out, template)
    return briefing(named, commands.message(text, file), values(given))


def found(out: Output, name: str) -> templates.Template:
    """The template of that name. One that came with the project is named as such on stderr.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    settings = config.load()
    there = templates.candidates(name, settings.home, settings.cwd)
    template = templates.find(name, settings.home, settings.cwd)
    if template.source == "project":
        instead = f", instead of the {there[1]} one" if there[1:] else ""
        out.note(f"the template {name} comes with this project: {template.path}{instead}")
    return template


def values(given: dict[str, str]) -> dict[str, str]:
    """The values of variables; `@FILE` is what stands in a file, `@@...` begins with an @."""
    known = {}
    for name, value in given.items():
        if value.startswith("@@"):
            known[name] = value[1:]
        elif value.startswith("@"):
            known[name] = commands.message(None, value[1:]) or ""
        else:
            known[name] = value
    return known


def list_(out: Output) -> int:
    settings = config.load()
    there = templates.every(settings.home, settings.cwd)
    width = max(len(one.name) for one in there)
    lines = [f"{one.name:{width}}  {one.source:8}  {one.description}" for one in there]
    out.result([one.to_json() for one in there], "\n".join(lines))
    return 0


def show(out: Output, name: str) -> int:
    template = found(out, name)
    out.result({**template.to_json(), "text": template.text}, template.text)
    return 0


def render(out: Output, name: str, text: str | None, file: str | None, given: dict[str, str], id: str | None) -> int:
    """Print a briefing as a session would get it: the session `id`, else one created here now."""
    said = brief(out, text, file, name, given)
    assert said.template is not None
    if id is None:
        settings = config.load()
        known = {"id": "(not created yet)", "path": settings.cwd, "parent": settings.parent}
        record: dict[str, Any] = {**known, "depth": settings.depth + 1}
        filled = said.template.fill(said.values, facts(said.template, record))
    else:
        from ..app import client

        filled = said.for_session(client().inspect(id))
    out.result({"name": name, "text": filled}, filled)
    return 0


def told(out: Output, said: Said) -> Briefing:
    """The briefing of a recipe.

    Raises:
        UsageError: there is none, or its values do not fit its template.
    """
    briefed = brief(out, *said)
    if briefed.template is None and not (briefed.text or "").strip():
        raise UsageError("nothing is said to be done", next="give a task, --file FILE, or --template NAME")
    return briefed
