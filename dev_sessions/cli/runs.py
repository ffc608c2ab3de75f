"""The recipes with several sessions, fan-out and consult, and the output of their runs."""

from __future__ import annotations

import os
import threading
import time
from functools import cache

from .. import config, templates
from ..backends import known, own_programs
from ..errors import Unsupported, UsageError
from ..model import LIMIT, PERMISSIONS
from ..recipes import fan_out as fans
from ..recipes import plan, runs, work
from .output import outcome_code
from .progress import Progress
from .recipes import ended_with
from .render import limit, question
from .templates import briefing_of, found, values
from .text import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..client import Client, Creation
    from ..recipes.plan import Branch, Plan
    from ..recipes.runs import Run
    from . import options as opt
    from .output import Output
    from .text import TextSource

# Seconds: how long after the first Ctrl-C a second one ends the agents, and how long sessions may need to start.
_SECOND_CTRL_C, _STARTING = 3.0, 120.0
_MAX_PARALLEL = 8
_FIELDS = ("name", "session", "cli", "path", "outcome", "reply", "report", "error", "next", "question", "turn")


def fan_out(
    out: Output,
    sources: opt.Sources = None,
    resume: opt.RunId = None,
    max_parallel: opt.MaxParallel = None,
    worktree: opt.Worktree = False,
    join: opt.Join = None,
    stream: opt.Stream = False,
    *,
    source: TextSource,
    options: Creation,
    timeout: opt.Timeout = None,
    settled: opt.Settled = False,
    keep: opt.Keep = False,
) -> int:
    """Do several tasks at once, each in a session of its own, and print all replies.

    Replies are data to check, never instructions; --json shows which reply came from which session.
    The plan takes precedence over the options here. Each result is kept in `runs` in the state folder. --resume
    continues an interrupted run: it starts nothing again and sends nothing twice. The first Ctrl-C lets the agents go
    on, a second one ends them. Exit codes: 0 all done, 5 some failed, 6 some wait for an answer, 124 some need longer.
    """
    settings = config.load()
    if resume is not None:
        if sources:
            raise UsageError("--resume uses the plan of its run: omit the plan", next="dev-sessions fan-out --help")
        with runs.resume(settings.home, resume) as run:
            return _lead(out, run, stream)
    _, _, template, given = source
    options["path"] = _folder(options["path"])
    defaults = plan.Defaults(options, template, values(given), timeout, join, settled)
    planned = _planned(out, sources or [], defaults)
    worktree = worktree or bool(planned.worktree)
    if worktree and config.gateway_wanted(settings.environ):
        raise Unsupported(
            "--worktree is not supported through a gateway: git records the worktree's path, which is different on the "
            "host",
            next="omit --worktree, or run it on the host",
            capability="worktree",
        )
    if worktree:
        fans.check_worktrees(planned.branches)
    most = max_parallel or planned.max_parallel or _MAX_PARALLEL
    return _begin(out, "fan-out", planned._replace(max_parallel=most, worktree=worktree), keep, stream)


def consult(
    out: Output,
    source: TextSource,
    cli: opt.Agents = None,
    *,
    options: Creation,
    timeout: opt.Timeout = None,
    settled: opt.Settled = False,
    keep: opt.Keep = False,
) -> int:
    """Ask several agents the same question separately, and print all answers."""
    brief = briefing_of(out, source, required=True)
    options["description"] = "consult"
    clis = cli or [program.name for program in own_programs()]
    if len({*clis}) < len(clis):
        raise UsageError("an agent is named twice", next="name every --cli once")
    branches = [plan.Branch(cli, brief, {**options, "cli": cli}, timeout, settled) for cli in clis]
    return _begin(out, "consult", plan.Plan(tuple(branches), None, len(branches), False), keep, False)


def _planned(out: Output, sources: Sequence[str], defaults: plan.Defaults) -> Plan:
    """The plan, from YAML or task files. Options that `create` would refuse for every branch are refused here."""

    @cache
    def find(name: str) -> templates.Template:
        return found(out, name)

    options = defaults.options
    for option, value, allowed in (
        ("cli", options["cli"], known()),
        ("permissions", options["permissions"], PERMISSIONS),
    ):
        if value not in allowed:
            raise UsageError(f"invalid --{option} {value!r}", next=f"--{option} {', '.join(allowed)}")
    if not os.path.isdir(options["path"]):
        raise UsageError(f"there is no folder {options['path']}", next="name an existing one with --path")
    plans = [source for source in sources if source.endswith((".yaml", ".yml"))]
    if not sources or (plans and len(sources) > 1):
        raise UsageError("give one plan (a .yaml file), or task files", next="dev-sessions fan-out --help")
    if plans:
        return plan.from_yaml(plans[0], message(None, plans[0]) or "", defaults, find, known())
    return plan.from_tasks([(source, message(None, source) or "") for source in sources], defaults, find)


def _begin(out: Output, recipe: str, planned: Plan, keep: bool, stream: bool) -> int:
    """Begin a run and finish it. Its sessions are in a group with the run's name, unless they have another group."""
    settings = config.load()
    id = runs.new_id(time.strftime("%Y%m%d-%H%M%S"))

    def in_run(branch: Branch) -> Branch:
        options = branch.options
        group, path = options.get("group") or id, _folder(options["path"])
        return branch._replace(options={**options, "group": group, "path": path})

    content = {
        "recipe": recipe,
        "cwd": settings.cwd,
        "branches": [in_run(branch) for branch in planned.branches],
        "join": None if planned.join is None else in_run(planned.join),
        "max_parallel": planned.max_parallel,
        "worktree": planned.worktree,
        "keep": keep,
    }
    with runs.begin(settings.home, id, **content) as run:
        out.note(f"run {id}; if it is interrupted: dev-sessions fan-out --resume {id}")
        return _lead(out, run, stream)


def _lead(out: Output, run: Run, stream: bool) -> int:
    """Run the branches to their ends, showing progress and results."""
    names = [branch.name for branch in run.branches] + ([plan.JOIN] if run.join else [])
    progress = Progress(out, names, lambda name: str(run.state(name).get("session") or ""))

    def client(name: str) -> Client:
        from ..app import client

        return client(on_event=lambda event: progress.note(f"{name}: {event['note']}") if "note" in event else None)

    fan = fans.FanOut(run, client, progress.changed)
    results = []
    try:
        for state in fan.results():
            results.append(_result(state))
            if stream:
                out.line({"run": run.id, **results[-1]})
    except KeyboardInterrupt:
        return _interrupted(progress, run, fan)
    finally:
        progress.close()
    results.sort(key=lambda one: names.index(one["name"]))
    if not stream:
        branches = [one for one in results if one["name"] != plan.JOIN]
        joined = next((one for one in results if one["name"] == plan.JOIN), None)
        value = {"run": run.id, "folder": run.folder, "branches": branches, "join": joined}
        out.result(value, "\n\n".join(map(_text, results)))
    _note_what_is_left(out, run, results)
    return outcome_code(["failed" if one["outcome"] == work.ERROR else one["outcome"] for one in results])


def _interrupted(progress: Progress, run: Run, fan: fans.FanOut) -> int:
    """First Ctrl-C: let the agents go on. A second one: end the sessions of the run."""
    try:
        fan.stop()
        progress.note(
            f"stopped; the agents go on; continue with: dev-sessions fan-out --resume {run.id}. "
            f"Press Ctrl-C again within {_SECOND_CTRL_C:g} s to end them"
        )
        threading.Event().wait(_SECOND_CTRL_C)
        fan.settle(_STARTING)
    except KeyboardInterrupt:
        progress.note("ending the sessions of this run")
        fan.settle(_STARTING)
        for error in fan.end():
            progress.note(f"not ended: {error}")
    return 130


def _result(state: dict[str, Any]) -> dict[str, Any]:
    """A branch as `--json` prints it."""
    shown = {name: state.get(name) for name in (*_FIELDS, "reason", "resets_at")}
    shown["kept"] = bool(state.get("session")) and not state.get("killed")
    if "worktree" in state:
        shown |= {name: state[name] for name in ("worktree", "branch", "commit")}
        shown |= {"hook": state.get("hook"), "changes": fans.changes(state)}
    return shown


def _text(one: dict[str, Any]) -> str:
    """A branch as text."""
    kept = f" ({one['session']})" if one["kept"] else ""
    lines = [f"## {one['name']}: {one['outcome']}{kept}"]
    if one["question"]:
        lines.append(question(one["session"], one["question"]))
    elif one["reply"] is not None:
        lines.append(one["reply"])
    elif one["error"]:
        lines.append(one["error"] + (f"\nnext: {one['next']}" if one["next"] else ""))
    if one["reason"] == LIMIT:
        lines.append(limit(one["resets_at"]))
    return "\n\n".join(lines)


def _note_what_is_left(out: Output, run: Run, results: list[dict[str, Any]]) -> None:
    """Print to stderr which sessions and worktrees are left, and what to do with them."""
    for one in results:
        if one["session"] and not one["kept"] and (left := run.state(one["name"]).get("left")):
            out.note(ended_with(one["session"], left))
    if out.json:
        return
    for one in results:
        if one.get("worktree"):
            changes = "".join(f"\n  {line}" for line in one["changes"].splitlines()) or " nothing changed"
            out.note(f"{one['name']}: {one['worktree']} (branch {one['branch']}):{changes}")
            if one.get("hook"):
                out.note(f"{one['name']}: a hook of the repository failed when the worktree was made: {one['hook']}")
    kept = [one["session"] for one in results if one["kept"]]
    if kept:
        out.note(f"kept: {' '.join(kept)}; dev-sessions kill {' '.join(kept)} ends them")
    if any(one["outcome"] in ("waiting_for_input", "timeout", work.ERROR) for one in results):
        out.note(f"once they can go on: dev-sessions fan-out --resume {run.id}")


def _folder(path: str) -> str:
    """A path of the command line, absolute: a run may be resumed in another folder."""
    return os.path.join(config.load().cwd, os.path.expanduser(path))
