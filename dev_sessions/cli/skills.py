"""The commands install-skill and skill show."""

from __future__ import annotations

from .. import __version__, config
from ..errors import DevSessionsError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..skills import Change
    from . import options as opt
    from .output import Output

_WORDS = {"kept": "edited, kept", "foreign": "not ours, kept"}
_NOTHING_DONE = ("unchanged", "absent", "kept", "foreign")


def install(
    out: Output,
    everywhere: opt.Everywhere = False,
    local: opt.Local = False,
    *,
    agents: list[str],
    force: opt.Force = False,
    check: opt.Check = False,
    diff: opt.Diff = False,
    uninstall: opt.Uninstall = False,
    dry_run: opt.DryRun = False,
) -> int:
    """Install the skills that teach agents to use dev-sessions.

    Without --claude or --codex, it installs them for the agents on this machine. A file that you edited is kept, its
    difference is shown, and the exit code is 1.
    """
    from .. import git, skills

    if everywhere and local:
        raise UsageError("--global and --local: choose one", next="dev-sessions install-skill --help")
    environ, cwd = config.surroundings()
    programs, none_found = skills.chosen(agents, environ)
    if none_found:
        out.note(f"no agent is installed here; using {programs[0].name}")
    project = git.project_of(cwd) if local else None
    dry = check or diff or dry_run
    wishes = skills.Wishes(uninstall, force, dry)
    changes: list[Change] = []
    try:
        for program in programs:
            for change in skills.apply(program, program.skills(environ, project), __version__, wishes, project):
                changes.append(change)
    except DevSessionsError as error:
        error.data["files"] = [change._asdict() for change in changes]
        if changes and not out.json:
            out.note(f"done before the error:\n{_report(changes, False, dry)}")
        raise
    out.result({"files": [change._asdict() for change in changes]}, _report(changes, diff, dry))
    acts = [change.act for change in changes]
    edited, foreign = acts.count("kept"), 0 if uninstall else acts.count("foreign")
    verb = "remove" if uninstall else "replace"
    for number, why in ((edited, "you edited"), (foreign, "dev-sessions did not write")):
        if number:
            them = "it" if number == 1 else "them"
            files = "1 file kept because" if number == 1 else f"{number} files kept because"
            out.note(f"{files} {why} {them}; --force {verb}s {them} and keeps a backup")
    asked = (check or diff) and any(act not in skills.AT_REST and act != "foreign" for act in acts)
    return 1 if edited or foreign or asked else 0


def _report(changes: list[Change], diff: bool, dry: bool) -> str:
    lines = []
    for change in changes:
        would = "would be " if dry and change.act not in _NOTHING_DONE else ""
        lines.append(f"{would}{_WORDS.get(change.act, change.act)}: {change.path}")
        if change.backup:
            lines.append(f"  the edited one: {change.backup}")
        if change.diff and (diff or change.act == "kept"):
            lines.append(change.diff)
    return "\n".join(lines) or "nothing to do"


def show(out: Output, name: opt.SkillName, agents: list[str]) -> int:
    """Print a skill as in this version.

    Claude's copy, unless --codex is given.
    """
    from .. import skills
    from ..backends import own_programs

    if len(agents) > 1:
        flags = " and ".join(f"--{agent}" for agent in agents)
        raise UsageError(f"{flags}: choose one", next="dev-sessions skill show --help")
    agent = agents[0] if agents else own_programs()[0].name
    text = skills.show(name, agent)
    out.result({"name": name, "agent": agent, "text": text}, text)
    return 0
