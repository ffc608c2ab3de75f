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


def brief(text: str | None, file: str | None, template: str | None, given: dict[str, str]) -> Briefing:
    """What is to be said: a message, or a template and its values.

    Raises:
        UsageError: the values do not fit the template, or there is no template.
    """
    if template is None and given:
        raise UsageError("--var fills a template, and none was named", next="name one with --template NAME")
    found = None
    if template is not None:
        settings = config.load()
        found = templates.find(template, settings.home, settings.cwd)
    return briefing(found, commands.message(text, file), values(given))


def values(given: dict[str, str]) -> dict[str, str]:
    """The values of variables; `@FILE` is what stands in a file, `@@...` begins with an @."""
    found = {}
    for name, value in given.items():
        if value.startswith("@@"):
            found[name] = value[1:]
        elif value.startswith("@"):
            found[name] = commands.message(None, value[1:]) or ""
        else:
            found[name] = value
    return found


def list_(out: Output) -> int:
    settings = config.load()
    found = templates.every(settings.home, settings.cwd)
    width = max(len(one.name) for one in found)
    lines = [f"{one.name:{width}}  {one.source:8}  {one.description}" for one in found]
    out.result([one.to_json() for one in found], "\n".join(lines))
    return 0


def show(out: Output, name: str) -> int:
    settings = config.load()
    found = templates.find(name, settings.home, settings.cwd)
    out.result({**found.to_json(), "text": found.text}, found.text)
    return 0


def render(out: Output, name: str, text: str | None, file: str | None, given: dict[str, str], id: str | None) -> int:
    """Print a briefing as a session would get it: the session `id`, else one created here now."""
    said = brief(text, file, name, given)
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


def told(said: Said) -> Briefing:
    """The briefing of a recipe.

    Raises:
        UsageError: there is none, or its values do not fit its template.
    """
    found = brief(*said)
    if found.template is None and not (found.text or "").strip():
        raise UsageError("nothing is said to be done", next="give a task, --file FILE, or --template NAME")
    return found
