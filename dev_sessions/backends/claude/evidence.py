"""All that can be known of a Claude session without asking anybody: our hooks' reports, Claude's own status file, its
process, and, only where these leave a question, the end of its transcript.

Claude Code's status file is `<config>/sessions/<pid>.json` (2.1.119 and newer): `status` is busy, idle, waiting or
shell (idle, with a background command), `statusUpdatedAt` in milliseconds since the epoch.
"""

from __future__ import annotations

import os
import time

from ... import files, processes
from ...model import Fact, Probe, Question
from ...turns import WAITING_ACTIVITY
from ..base import Observation, Sources
from . import hooks, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..base import Session

# `statusUpdatedAt` may be older than the report that it follows by the time that a hook takes to write. Seconds.
_SLACK = 2.0
# The transcript's lines reach the disk some 0.1 s after the status file changes, later under load. Seconds.
_TRANSCRIPT_LAG = 1.5
_ACTIVITIES = {"busy": "busy", "idle": "idle", "shell": "idle", "waiting": WAITING_ACTIVITY}


def observe(session: Session) -> Observation:
    """What the agent said and does; see `base.Backend.observe`."""
    # The probe first: Claude reports a turn's end before it says that it is idle, so what an idle Claude has reported
    # stands in the facts that are read afterwards.
    probe = look(session)
    fields = [(payload, hooks.parse(payload)) for payload in session.folder.facts()]
    facts = [fact for payload, values in fields if (fact := hooks.fact(payload, values)) is not None]
    path = transcript_path(session, [values for _, values in fields])
    reported = bool(facts)
    when = _unclear_since(facts, probe) if reported else first_attempt(session)
    entries = transcript.since(path, when - _SLACK) if path and when is not None else []
    facts = _with_transcript(facts, entries, reported)
    return Observation(facts, probe if reported else _without_hooks(probe, facts, session, path))


def look(session: Session) -> Probe:
    """What can be seen of the agent's process now."""
    now = time.time()
    process = session.folder.process()
    if process is None:
        return _unborn(session, now)
    if not processes.is_running(*process):
        return Probe(now, False, since=0.0, detail="the agent's process is gone")
    status = status_file(session, process[0])
    activity = _ACTIVITIES.get(str(status.get("status")))
    if activity is None:
        return _at_a_dialog(session, Probe(now, True))
    changed = float(status.get("statusUpdatedAt") or status.get("updatedAt") or 0.0) / 1000
    background = status.get("status") == "shell"
    probe = Probe(now, True, activity, changed, status.get("waitingFor"), background=background)
    if activity == WAITING_ACTIVITY:
        text = f"Claude Code shows a dialog ({probe.detail or 'no details'})"
        return probe._replace(question=Question(f"dialog-{int(changed * 1000)}", "dialog", text, (), changed))
    return probe


def status_file(session: Session, pid: int) -> dict[str, Any]:
    """Claude's own file on that process, or on that session; empty if there is none of a living process."""
    folder = os.path.join(config_folder(session), "sessions")
    status = _status(os.path.join(folder, f"{pid}.json"))
    if status:
        return status
    # `claude` may be a wrapper that runs the real one as its child.
    uuid = session.private.get("uuid")
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".json")]
    except OSError:
        return {}
    found = (_status(os.path.join(folder, name)) for name in names)
    return next((status for status in found if status.get("sessionId") == uuid), {})


def _status(path: str) -> dict[str, Any]:
    """A status file, unless the process that it speaks of is gone."""
    try:
        value = files.read_json(path)
    except OSError:
        return {}
    if not isinstance(value, dict) or not isinstance(value.get("pid"), int):
        return {}
    started = processes.start_time(value["pid"])
    return value if started is not None and value.get("procStart") in (None, started) else {}


def _unborn(session: Session, now: float) -> Probe:
    """No process yet: it is being created, or its creator died before the agent was born."""
    creator = session.record.get("creator") or {}
    if processes.is_running(int(creator.get("pid", 0)), str(creator.get("started"))):
        return Probe(now, True, "busy", now)
    return Probe(now, False, detail="the agent was never started")


def _at_a_dialog(session: Session, probe: Probe) -> Probe:
    """A dialog at the start: no hook and no status file exist before it is answered, so `create` left a notice."""
    notice = session.folder.notice()
    if notice is None:
        return probe
    at = float(notice.get("at", 0.0))
    question = Question(f"dialog-{int(at * 1000)}", "dialog", str(notice.get("text", "")), (), at)
    return probe._replace(activity=WAITING_ACTIVITY, since=at, question=question)


def _without_hooks(probe: Probe, facts: list[Fact], session: Session, path: str | None) -> Probe:
    """Without hooks, how a turn ended and what is asked stands in the transcript only, which lags behind the status."""
    late = probe.now - probe.since < _TRANSCRIPT_LAG
    marks = [fact.kind for fact in facts if fact.kind in ("accepted", "started", "ended")]
    if probe.activity == "idle" and late and marks and marks[-1] != "ended":
        return probe._replace(activity="busy")
    if probe.activity != WAITING_ACTIVITY or not path or probe.question is None or session.folder.notice():
        return probe
    call = transcript.open_tool_call(transcript.since(path, probe.since - 60.0))
    if call is None:
        return probe._replace(activity="busy", question=None) if late else probe
    name, given, at = call
    return probe._replace(question=hooks.asked(f"tool-{int(at * 1000)}", name, given, at))


def _unclear_since(facts: list[Fact], probe: Probe) -> float | None:
    """From when on the hooks leave something open that the transcript tells, or None.

    No hook reports an interrupt, nor what becomes of a prompt that was taken while a turn was running.
    """
    running: dict[str | None, float] = {}
    unclear: float | None = None
    for fact in facts:
        if fact.kind == "accepted":
            if running and unclear is None:
                unclear = min(running.values())
            running.setdefault(fact.prompt, fact.at)
        elif fact.kind == "ended":
            running.clear()
    if unclear is None and running and probe.activity != "busy":
        unclear = min(running.values())
    return unclear


def first_attempt(session: Session) -> float | None:
    """Without hooks everything has to come from the transcript, from our first message on."""
    attempts = [message.attempted for message in session.folder.messages() if message.attempted is not None]
    return min(attempts) if attempts else None


def _with_transcript(facts: list[Fact], entries: list[dict[str, Any]], reported: bool) -> list[Fact]:
    told = list(transcript.facts(entries))
    if reported:
        ended = {fact.prompt for fact in facts if fact.kind == "ended"}
        told = [
            fact
            for fact in told
            if fact.kind in ("joined", "started", "returned") or (fact.kind == "ended" and fact.prompt not in ended)
        ]
    return sorted([*facts, *told], key=lambda fact: fact.at) if told else facts


def transcript_path(session: Session, payloads: list[dict[str, Any]]) -> str | None:
    """Where the transcript is: as the last report says, else by the session's uuid under the projects folder."""
    for fields in reversed(payloads):
        path = fields.get("transcript_path")
        if isinstance(path, str) and path:
            return path
    projects = os.path.join(config_folder(session), "projects")
    name = f"{session.private.get('uuid')}.jsonl"
    try:
        folders = os.listdir(projects)
    except OSError:
        return None
    return next((path for folder in folders if os.path.exists(path := os.path.join(projects, folder, name))), None)


def pane_name(id: str) -> str:
    """The tmux session's name: `tmux attach -t dev-<id>` is what a person types."""
    return f"dev-{id}"


def config_folder(session: Session) -> str:
    """The Claude configuration folder that the session was started with."""
    return str(session.private.get("config") or "")


def sources(session: Session) -> Sources:
    """What to watch; see `base.Backend.sources`."""
    paths = [session.folder.facts_path, session.folder.messages_path, session.folder.path]
    process = session.folder.process()
    status = os.path.join(config_folder(session), "sessions")
    return Sources((*paths, status), (process,) if process else ())
