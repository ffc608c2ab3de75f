"""The recipes that lead several sessions at once, `fan-out` and `consult`: how a run begins, is shown, and ends."""

from __future__ import annotations

import os
import threading
import time
from functools import cache

from .. import config, templates
from ..backends import known
from ..errors import Unsupported, UsageError
from ..model import LIMIT, PERMISSIONS
from ..recipes import fan_out, plan, runs, work
from . import briefs
from .commands import limit, message, question_text
from .output import outcome_code
from .progress import Progress
from .recipes import ended_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..client import Client, Creation
    from ..recipes.plan import Branch, Defaults, Plan
    from ..recipes.runs import Run
    from .commands import Said
    from .output import Output

# How long one may think after the first Ctrl-C about the second, and sessions that begin just then may take. Seconds.
_SECOND_THOUGHTS, _STARTING = 3.0, 120.0
_PLANS = (".yaml", ".yml")
# How many branches are at work at once, if nobody says.
_MAX_PARALLEL = 8


def begin(
    out: Output,
    sources: Sequence[str],
    defaults: Defaults,
    max_parallel: int | None,
    worktree: bool,
    keep: bool,
    stream: bool,
) -> int:
    """A new run, of a plan or of task files."""
    settings = config.load()
    planned = _planned(out, sources, defaults)
    trees = worktree or bool(planned.worktree)
    if trees:
        if config.gateway_wanted(settings.environ):
            raise Unsupported(
                "--worktree is not supported through a gateway: git notes where a worktree is, and the host calls that "
                "place otherwise",
                next="leave --worktree away, or run it on the host",
                capability="worktree",
            )
        fan_out.check_worktrees(planned.branches)
    most = max_parallel or planned.max_parallel or _MAX_PARALLEL
    return start(out, "fan-out", planned.branches, planned.join, most, trees, keep, stream)


def _planned(out: Output, sources: Sequence[str], defaults: Defaults) -> Plan:
    @cache
    def find(name: str) -> templates.Template:
        return briefs.found(out, name)

    _check(defaults)
    plans = [source for source in sources if source.endswith(_PLANS)]
    if not sources or (plans and len(sources) > 1):
        raise UsageError("give one plan (a .yaml file), or task files", next="dev-sessions fan-out --help")
    if plans:
        return plan.from_yaml(plans[0], message(None, plans[0]) or "", defaults, find, known())
    return plan.from_tasks([(source, message(None, source) or "") for source in sources], defaults, find)


def _check(defaults: Defaults) -> None:
    """Refuse for all branches what `create` would refuse for each."""
    options = defaults.options
    for option, given, allowed in (
        ("cli", options["cli"], known()),
        ("permissions", options["permissions"], PERMISSIONS),
    ):
        if given not in allowed:
            raise UsageError(f"no {option} {given!r}", next=f"--{option} {', '.join(allowed)}")
    if not os.path.isdir(options["path"]):
        raise UsageError(f"there is no folder {options['path']}", next="name an existing one with --path")


def consult(
    out: Output,
    said: Said,
    clis: Sequence[str],
    timeout: float | None,
    settled: bool,
    keep: bool,
    options: Creation,
) -> int:
    """The same question to each of these agents."""
    brief = briefs.told(out, said)
    branches = [plan.Branch(cli, brief, {**options, "cli": cli}, timeout, settled) for cli in clis]
    if len({*clis}) < len(clis):
        raise UsageError("each agent is asked once", next="name every --cli once")
    return start(out, "consult", branches, None, len(branches), False, keep, False)


def start(
    out: Output,
    recipe: str,
    branches: Sequence[Branch],
    join: Branch | None,
    max_parallel: int,
    worktree: bool,
    keep: bool,
    stream: bool,
) -> int:
    """Write a run down, and go through with it. Its sessions are a group of its name, unless they have another."""
    settings = config.load()
    id = runs.new_id(time.strftime("%Y%m%d-%H%M%S"))
    branches = [_of_run(branch, id) for branch in branches]
    content = {
        "recipe": recipe,
        "cwd": settings.cwd,
        "branches": branches,
        "join": None if join is None else _of_run(join, id),
        "max_parallel": max_parallel,
        "worktree": worktree,
        "keep": keep,
    }
    with runs.begin(settings.home, id, **content) as run:
        out.note(f"run {id}; if it is cut: dev-sessions fan-out --resume {id}")
        return _led(out, run, stream)


def resume(out: Output, id: str, stream: bool) -> int:
    """Go on with a run where it was cut; of one that is over, say again what came of it."""
    with runs.resume(config.load().home, id) as run:
        return _led(out, run, stream)


def _of_run(branch: Branch, run: str) -> Branch:
    """With the run's name as its group if it has none, and a folder that means the same wherever it is resumed."""
    options = branch.options
    group, path = options.get("group") or run, folder_of(options["path"])
    return branch._replace(options={**options, "group": group, "path": path})


def _led(out: Output, run: Run, stream: bool) -> int:
    names = [branch.name for branch in run.branches] + ([plan.JOIN] if run.join else [])
    progress = Progress(out, names, lambda name: str(run.state(name).get("session") or ""))

    def client(name: str) -> Client:
        from ..app import client

        return client(on_event=lambda event: progress.note(f"{name}: {event['note']}") if "note" in event else None)

    fan = fan_out.FanOut(run, client, progress.changed)
    found = []
    try:
        for state in fan.results():
            found.append(_shown(state))
            if stream:
                out.line({"run": run.id, **found[-1]})
    except KeyboardInterrupt:
        return _interrupted(progress, run, fan)
    finally:
        progress.close()
    if not stream:
        _tell(out, run, found)
    _say_what_is_left(out, run, found)
    return outcome_code(["failed" if one["outcome"] == work.ERROR else one["outcome"] for one in found])


def _interrupted(progress: Progress, run: Run, fan: fan_out.FanOut) -> int:
    """First Ctrl-C: let the agents go on. A second one: end what the run has created."""
    try:
        fan.stop()
        progress.note(
            f"stopped; the agents go on, and dev-sessions fan-out --resume {run.id} picks them up. "
            f"Ctrl-C again within {_SECOND_THOUGHTS:g} s ends them"
        )
        threading.Event().wait(_SECOND_THOUGHTS)
        fan.settle(_STARTING)
    except KeyboardInterrupt:
        progress.note("ending what this run has created")
        fan.settle(_STARTING)
        for trouble in fan.end():
            progress.note(f"not ended: {trouble}")
    return 130


_FIELDS = ("name", "session", "cli", "path", "outcome", "reply", "report", "error", "next", "question", "turn")
_ENDING = ("reason", "resets_at")


def _shown(state: dict[str, Any]) -> dict[str, Any]:
    """A branch as `--json` prints it."""
    shown = {name: state.get(name) for name in (*_FIELDS, *_ENDING)}
    shown["kept"] = bool(state.get("session")) and not state.get("killed")
    if "worktree" in state:
        shown |= {name: state[name] for name in ("worktree", "branch", "commit")}
        shown |= {"hook": state.get("hook"), "changes": fan_out.changes(state)}
    return shown


def _tell(out: Output, run: Run, found: list[dict[str, Any]]) -> None:
    """The results of a run, in the order of its plan; the join is the last."""
    order = [branch.name for branch in run.branches]
    branches = sorted((one for one in found if one["name"] in order), key=lambda one: order.index(one["name"]))
    joined = next((one for one in found if one["name"] not in order), None)
    value = {"run": run.id, "folder": run.folder, "branches": branches, "join": joined}
    everything = [*branches, *([joined] if joined else [])]
    out.result(value, "\n\n".join(map(_text, everything)))


def _text(one: dict[str, Any]) -> str:
    kept = f" ({one['session']})" if one["kept"] else ""
    lines = [f"## {one['name']}: {one['outcome']}{kept}"]
    if one["question"]:
        lines.append(question_text(one["session"], one["question"]))
    elif one["reply"] is not None:
        lines.append(one["reply"])
    elif one["error"]:
        lines.append(one["error"] + (f"\nnext: {one['next']}" if one["next"] else ""))
    if one["reason"] == LIMIT:
        lines.append(limit(one["resets_at"]))
    return "\n\n".join(lines)


def _say_what_is_left(out: Output, run: Run, found: list[dict[str, Any]]) -> None:
    """On stderr: what is still there, and what can be done with it."""
    for one in found:
        if one["session"] and not one["kept"] and (left := run.state(one["name"]).get("left")):
            out.note(ended_with(one["session"], left))
    if out.json:
        return
    for one in found:
        if one.get("worktree"):
            changes = "".join(f"\n  {line}" for line in one["changes"].splitlines()) or " nothing changed"
            out.note(f"{one['name']}: {one['worktree']} (branch {one['branch']}):{changes}")
            if one.get("hook"):
                out.note(f"{one['name']}: a hook of the repository failed when the worktree was made: {one['hook']}")
    kept = [one["session"] for one in found if one["kept"]]
    if kept:
        out.note(f"still there: {' '.join(kept)}; dev-sessions kill {' '.join(kept)} ends them")
    if any(one["outcome"] in ("waiting_for_input", "timeout", work.ERROR) for one in found):
        out.note(f"once they can go on: dev-sessions fan-out --resume {run.id}")


def folder_of(path: str) -> str:
    """A path of the command line, absolute: a run may be resumed in another folder."""
    return os.path.join(config.load().cwd, os.path.expanduser(path))
