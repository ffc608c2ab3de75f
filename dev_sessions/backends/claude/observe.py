"""The facts and the probe of a Claude session, read without asking the agent.

They come from our hooks' reports, Claude's own status file, its process and, only if these are not conclusive, from the
end of its transcript.

Claude Code's status file is `<config>/sessions/<pid>.json`: `status` is busy, idle, waiting or shell (idle, with a
background command), and `statusUpdatedAt` is in milliseconds since the epoch.
"""

from __future__ import annotations

import os
import time

from ...model import IDLE, INTERRUPTED, LIMIT, Fact, Probe, Question
from ...system import files, processes
from ...turns import ASK_GRACE, BUSY_ACTIVITY, WAITING_ACTIVITY
from ...values import as_number
from ..session import Observation, Sources
from . import container, hooks, limits, paths, questions, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...terminal.tmux import Tmux
    from ..session import Session

# `statusUpdatedAt` may be older than the report that it follows, by the time that a hook takes to write. Seconds.
_SLACK = 2.0
# Claude is idle about 0.1 s after it has reported a turn's end. If it takes longer, it may have continued. Seconds.
_AT_REST = 0.3
# How long Claude may take to write a status file. Seconds.
_WRITING = 0.05
_ACTIVITIES = {"busy": BUSY_ACTIVITY, "idle": IDLE, "shell": IDLE, "waiting": WAITING_ACTIVITY}


def observe(session: Session) -> Observation:
    """What the agent reported and what it is doing; see `base.Backend.observe`."""
    # Read the probe first: Claude reports a turn's end before it shows that it is idle, so if it is idle, its reports
    # are among the facts that are read afterwards.
    probe = look(session)
    reports = hooks.reports(session)
    found = ((hooks.fact(payload, fields), fields) for payload, fields in reports)
    facts = [questions.with_task(fact, fields) for fact, fields in found if fact is not None]
    facts += questions.answered(session.folder, reports, probe)
    path = transcript.find(session, reports)
    facts = questions.with_plan(facts, path)
    reported = bool(facts)
    when = _unclear_since(facts, probe) if reported else transcript.first_attempt(session)
    entries = transcript.since(path, when - _SLACK) if path and when is not None else []
    facts = _with_transcript(facts, list(transcript.facts(entries)), reported)
    facts, probe = limits.applied(facts, probe, path, session.continues)
    probe = _settled(probe, facts, entries) if reported else _without_hooks(probe, facts, session, path)
    return Observation(facts, probe)


def look(session: Session) -> Probe:
    """The current state of the agent's process."""
    now = time.time()
    process = session.folder.process()
    if process is None:
        if session.being_created:
            return Probe(now, True, BUSY_ACTIVITY, now)
        why = "its file `process` is gone; dev-sessions kill ends the agent if it still runs"
        return Probe(now, False, detail=why if session.record.get("ready_at") else "the agent was never started")
    if not processes.is_running(*process):
        rebooted = process[1] == processes.EARLIER_BOOT
        why = "the machine was started anew" if rebooted else "the agent's process is gone: killed, or crashed"
        return Probe(now, False, since=0.0, detail=why)
    status = status_file(session, process)
    activity = _ACTIVITIES.get(str(status.get("status")))
    if activity is None:
        # A dialog at the start precedes all hooks and the status file, so `create` has left a notice about it.
        notice = session.folder.notice()
        if notice is None:
            return Probe(now, True)
        return _at_a_dialog(Probe(now, True), str(notice.get("text", "")), as_number(notice.get("at")))
    changed = _changed(status) / 1000
    probe = Probe(now, True, activity, changed, status.get("waitingFor"), background=status.get("status") == "shell")
    if activity != WAITING_ACTIVITY:
        return probe
    return _at_a_dialog(probe, f"Claude Code shows a dialog ({probe.detail or 'no details'})", changed)


def _at_a_dialog(probe: Probe, text: str, at: float) -> Probe:
    question = Question(f"dialog-{int(at * 1000)}", "dialog", text, (), at)
    return probe._replace(activity=WAITING_ACTIVITY, since=at, question=question)


def _changed(status: dict[str, Any]) -> float:
    return as_number(status.get("statusUpdatedAt") or status.get("updatedAt"))


def status_file(session: Session, process: tuple[int, str]) -> dict[str, Any]:
    """Claude's own file about that process, or about that session; empty if no running process has one."""
    return _found_status(session, process)[1]


def _found_status(session: Session, process: tuple[int, str]) -> tuple[str, dict[str, Any]]:
    """The status file, as (path, content); if there is none, (the folder where it would appear, {})."""
    folder = os.path.join(paths.config_folder(session), "sessions")
    if session.contained:
        # Only this Claude writes to the folder, and the pid is one inside its container.
        found = [value for path in _json_files(folder) if isinstance(value := _written(path), dict)]
        return folder, max(found, key=_changed, default={})
    path = os.path.join(folder, f"{process[0]}.json")
    if status := _status(path, process):
        return path, status
    # `claude` may be a wrapper that runs the real one as its child. It, or the user's settings, may set the folder.
    reported = transcript.find(session, hooks.reports(session))
    folder = os.path.join(transcript.config_of(reported) or paths.config_folder(session), "sessions")
    ids = {session.private.get("uuid"), os.path.basename(reported or "").removesuffix(".jsonl")}
    for path in _json_files(folder):
        status = _status(path, process)
        if status and (status["pid"] == process[0] or status.get("sessionId") in ids):
            return path, status
    return folder, {}


def _json_files(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in container.listed(folder) if name.endswith(".json")]


def _status(path: str, alive: tuple[int, str]) -> dict[str, Any]:
    """A status file, unless its process has ended; the process `alive` is known to run."""
    value = _written(path)
    if not isinstance(value, dict) or not isinstance(value.get("pid"), int):
        return {}
    pid = value["pid"]
    started = alive[1] if alive[0] == pid else processes.start_time(pid)
    return value if started is not None and value.get("procStart") in (None, started) else {}


def _written(path: str) -> Any:
    """The content of a status file. Claude writes it in place, so an incomplete one is read again."""
    content = container.read(path)
    value = None if content is None else files.parse_json(content)
    if content is None or value is not None:
        return value
    from ...system.waiting import Watcher

    until = time.monotonic() + _WRITING
    with Watcher() as watcher:
        watcher.watch_path(path)
        while (value := container.read_json(path)) is None and (left := until - time.monotonic()) > 0:
            watcher.wait(left)
    return value


def _without_hooks(probe: Probe, facts: list[Fact], session: Session, path: str | None) -> Probe:
    """Without hooks, only the transcript shows how a turn ended and what Claude asks; it lags behind the status."""
    settled = _settled(probe, facts)
    if settled is not probe:
        return settled
    if probe.activity != WAITING_ACTIVITY or not path or probe.question is None or session.folder.notice():
        return probe
    call = transcript.open_tool_call(transcript.since(path, probe.since - 60.0))
    if call is None:
        # After a limit there is a menu without a tool call of the model.
        late = _is_late(probe) and not (facts and facts[-1].reason == LIMIT)
        return probe._replace(activity=BUSY_ACTIVITY, question=None) if late else probe
    name, given, at = call
    return probe._replace(question=hooks.asked(f"tool-{int(at * 1000)}", name, given, at))


def _settled(probe: Probe, facts: list[Fact], entries: list[dict[str, Any]] | None = None) -> Probe:
    """The probe, still `busy` while the report of how the last turn ended may not have arrived yet.

    Claude shows that it is idle without waiting for its StopFailure hook, and writes the transcript after that.

    Args:
        entries: those of the transcript, if the facts do not come from it.
    """
    marks = [fact for fact in facts if fact.kind in ("accepted", "started", "ended", "alive")]
    if probe.activity != IDLE or not _is_late(probe) or not marks or marks[-1].kind == "alive":
        return probe
    last = marks[-1]
    if last.kind != "ended":
        return probe._replace(activity=BUSY_ACTIVITY)
    if entries is None or probe.since <= last.at + _AT_REST or transcript.has_ended(entries, last.at):
        return probe
    # On the same turn: it may have continued and been interrupted.
    return probe._replace(activity=BUSY_ACTIVITY, since=last.at)


def _is_late(probe: Probe) -> bool:
    """True while the transcript may lag behind the status. If the status is in the future, the clock was set back."""
    return -1.0 <= probe.now - probe.since < transcript.LAG


def _unclear_since(facts: list[Fact], probe: Probe) -> float | None:
    """The time from which the transcript must complete the hooks' reports; None if the reports are complete.

    No hook reports an interrupt (not even if the turn had continued after its end), what happens to a prompt that
    Claude accepted while a turn was running, or that a key stopped the subagents: Claude reports that to itself in a
    prompt that looks like any other.
    """
    ended = 0.0
    running: dict[str | None, float] = {}
    unclear: float | None = None
    left: float | None = None  # the time since which subagents run
    for fact in facts:
        if fact.kind == "accepted":
            if running and unclear is None:
                unclear = min(running.values())
            if left is not None and unclear is None and fact.task is None:
                unclear = left
            running.setdefault(fact.prompt, fact.at)
        elif fact.kind == "ended":
            running.clear()
            ended = fact.at
            left = fact.at if fact.subagents else None
    if unclear is None and probe.activity != BUSY_ACTIVITY:
        if running:
            unclear = min(running.values())
        elif ended and probe.since > ended + _AT_REST:
            unclear = ended
    return unclear


def _with_transcript(facts: list[Fact], written: list[Fact], reported: bool) -> list[Fact]:
    """The facts of the reports and those of a section of the transcript, each only once."""
    if reported:
        ends = [fact for fact in facts if fact.kind == "ended"]
        written = [
            # The section does not show what was started before it.
            fact._replace(subagents=None) if fact.kind == "ended" else fact
            for fact in written
            if fact.kind in ("joined", "started", "returned", "stopped")
            or (fact.kind == "ended" and not _is_reported(fact, ends))
        ]
    return sorted([*facts, *written], key=lambda fact: fact.at) if written else facts


def _is_reported(end: Fact, ends: list[Fact]) -> bool:
    """True if a hook has reported that end too. The report has no prompt id before the agent's first input."""
    if end.outcome == INTERRUPTED:  # no hook reports it; the turn may have continued after an end that a hook reported
        return any(one.prompt == end.prompt and one.at > end.at for one in ends)
    near = (one for one in ends if one.prompt is None and abs(one.at - end.at) < transcript.LAG)
    return any(one.prompt == end.prompt for one in ends) or any(near)


def with_screen(session: Session, seen: Observation, tmux: Tmux) -> Observation:
    """The observation, with the screen's text in its question if all that is known is that there is a dialog.

    Nobody has to answer the menu that Claude shows at a usage limit.
    """
    from . import dialogs

    probe, question = seen.probe, seen.probe.question
    if question is None or question.kind != "dialog" or session.folder.notice() is not None:
        return seen
    answered = {fact.text for fact in seen.facts if fact.kind == "answered"}
    open = (fact for fact in reversed(seen.facts) if fact.question is None or fact.question.id not in answered)
    last = next((fact.kind for fact in open if fact.kind in ("asked", "ended", "accepted")), None)
    fresh = probe.now - probe.since <= ASK_GRACE
    if last == "asked" or (fresh and last != "ended"):
        return seen
    target = session.private.get("pane") or f"={paths.terminal(session)}:"
    screen = tmux.run("capture-pane", "-p", "-t", target, check=False)
    if dialogs.is_limit_menu(screen):
        # Our settings have answered it, and the next delivery closes it. The report of the end may still arrive.
        return seen._replace(probe=probe._replace(activity=IDLE if last == "ended" else BUSY_ACTIVITY, question=None))
    if fresh:
        return seen
    options = tuple(option.text for option in dialogs.options(screen))
    whole = question._replace(text=f"{question.text}:\n{dialogs.shown(screen)}", options=options)
    return seen._replace(probe=probe._replace(question=whole))


def sources(session: Session) -> Sources:
    """What to watch for changes; see `base.Backend.sources`."""
    folder, process = session.folder, session.folder.process()
    own = os.path.join(paths.config_folder(session), "sessions", f"{process[0]}.json") if process else ""
    # Claude writes its status file in place (2.1.330). All Claudes share its folder, and a change of the folder only
    # shows that there is a new file.
    watched = [own if not process or os.path.exists(own) else _found_status(session, process)[0]]
    # Only the transcript shows that Claude will not continue at the reset of a limit after all.
    if session.continues and (written := transcript.find(session, [])):
        watched.append(written)
    arrivals = (folder.facts_path, folder.messages_path, folder.path)
    return Sources(tuple(watched), (process,) if process else (), arrivals)
