"""The commands that concern this machine: installing skills, and looking for what is wrong.

They work where no client can be had, in gateway mode for instance.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import config
from ..errors import DevSessionsError, UsageError
from .options import Json
from .output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

Claude = Annotated[bool, typer.Option("--claude", help="Claude Code's copy.")]
Codex = Annotated[bool, typer.Option("--codex", help="Codex's copy.")]

skill = typer.Typer(help="Print the skills of this version.")


def add_to(app: typer.Typer) -> None:
    """Called by `definition`, where all commands come together."""
    app.command("install-skill")(install_skill)
    app.add_typer(skill, name="skill")
    app.command("doctor")(doctor)


def install_skill(
    everywhere: Annotated[bool, typer.Option("--global", help="For you, in every project (the default).")] = False,
    local: Annotated[bool, typer.Option("--local", help="For this project: .claude/skills, .codex/skills.")] = False,
    claude: Claude = False,
    codex: Codex = False,
    force: Annotated[bool, typer.Option("--force", help="Also what was edited by hand; keeps a backup.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if anything is to be done.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Write nothing; show how what is there differs.")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Remove them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; tell what would be done.")] = False,
    json: Json = False,
) -> int:
    """Install the skills that teach agents to use dev-sessions.

    Without --claude and --codex, for the agents that are here. A file that was edited by hand is kept, its difference
    shown, and the exit code is 1.
    """
    out = Output(json=json)
    agents = _agents(claude, codex)
    dry = check or diff or dry_run

    def act() -> int:
        if everywhere and local:
            raise UsageError("--global and --local: choose one", next="dev-sessions install-skill --help")
        changes: list[Any] = []
        try:
            for change in _changes(out, agents, local, uninstall=uninstall, force=force, dry=dry):
                changes.append(change)
        except DevSessionsError as error:
            error.data["files"] = [change._asdict() for change in changes]
            if changes and not out.json:
                out.note(f"done before that:\n{_told(changes, False, dry)}")
            raise
        out.result({"files": [change._asdict() for change in changes]}, _told(changes, diff, dry))
        return _verdict(out, changes, uninstall, check or diff)

    return out.guard(act)


def _changes(out: Output, agents: list[str], local: bool, **wishes: bool) -> Iterator[Any]:
    from .. import __version__, git, skills

    environ, cwd = config.surroundings()
    programs, none_found = skills.chosen(agents, environ)
    if none_found:
        out.note(f"no agent is installed here; taking {programs[0].name}")
    project = git.project_of(cwd) if local else None
    for program in programs:
        into = program.skills(environ, project)
        yield from skills.apply(program, into, __version__, skills.Wishes(**wishes), project)


def _verdict(out: Output, changes: list[Any], uninstall: bool, ask: bool) -> int:
    """The exit code: 1 if something was kept that should have been replaced, or (`ask`) if anything is to be done."""
    acts = [change.act for change in changes]
    kept = acts.count("kept") + (0 if uninstall else acts.count("foreign"))
    if kept:
        verb = "removes" if uninstall else "replaces"
        out.note(f"kept: {kept}, not as dev-sessions has written it; --force {verb} that, and keeps a backup")
    to_do = [act for act in acts if act not in ("unchanged", "absent", "foreign")]
    return 1 if kept or (ask and to_do) else 0


def _told(changes: list[Any], diff: bool, dry: bool) -> str | None:
    lines = []
    for change in changes:
        word = {"kept": "edited, kept", "foreign": "not ours, kept"}.get(change.act, change.act)
        would = dry and change.act not in ("unchanged", "absent", "kept", "foreign")
        lines.append(f"{'would be ' if would else ''}{word}: {change.path}")
        if change.backup:
            lines.append(f"  the edited one: {change.backup}")
        if change.diff and (diff or change.act == "kept"):
            lines.append(change.diff)
    return "\n".join(lines) or "nothing to do"


@skill.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The skill's name.", show_default=False)],
    claude: Claude = False,
    codex: Codex = False,
    json: Json = False,
) -> int:
    """Print a skill as this version has it.

    Claude Code's copy, unless --codex is given.
    """
    out = Output(json=json)

    def act() -> int:
        from .. import skills

        if claude and codex:
            raise UsageError("--claude and --codex: choose one", next="dev-sessions skill show --help")
        program, *_ = skills.chosen(_agents(claude, codex) or ["claude"], {})[0]
        text = skills.show(name, program.name)
        out.result({"name": name, "agent": program.name, "text": text}, text)
        return 0

    return out.guard(act)


def doctor(json: Json = False) -> int:
    """Look for what is wrong with this machine; exit 1 if anything is.

    Looked at are tmux, the agents and their logins, skills, the state folder and the disk. Each
    finding comes with its remedy. Nothing is changed.
    """
    out = Output(json=json)

    def act() -> int:
        from .. import doctor as machine

        def sessions() -> list[dict[str, Any]]:
            from ..app import client

            return client().list()

        found = machine.examine(*config.surroundings(), sessions)
        lines = [
            f"{one.level:<8} {one.check}: {one.text}" + (f"\n         remedy: {one.remedy}" if one.remedy else "")
            for one in found
        ]
        problems = sum(one.level == "problem" for one in found)
        out.result({"findings": [one._asdict() for one in found], "problems": problems}, "\n".join(lines))
        return 1 if problems else 0

    return out.guard(act)


def _agents(claude: bool, codex: bool) -> list[str]:
    return [name for name, wanted in (("claude", claude), ("codex", codex)) if wanted]
