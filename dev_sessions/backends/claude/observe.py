"""All that can be known of a Claude session without asking anybody: our hooks' reports, Claude's own status file, its
process, and, only where these leave a question, the end of its transcript.

Claude Code's status file is `<config>/sessions/<pid>.json` (2.1.119 and newer): `status` is busy, idle, waiting or
shell (idle, with a background command), `statusUpdatedAt` in milliseconds since the epoch.
"""

from __future__ import annotations

import os
import time

from ...model import INTERRUPTED, LIMIT, Fact, Probe, Question
from ...system import files, processes
from ...turns import WAITING_ACTIVITY
from ...values import as_number
from ..session import Observation, Sources
from . import container_files, hooks, limits, plans, questions, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...state.folder import Payload
    from ..base import Session

# `statusUpdatedAt` may be older than the report that it follows by the time that a hook takes to write. Seconds.
_SLACK = 2.0
# Claude is idle some 0.1 s after it has reported the end of a turn. If it takes longer, it may have gone on. Seconds.
_AT_REST = 0.3
# How long a status file may take to be written. Seconds.
_WRITING = 0.05
_ACTIVITIES = {"busy": "busy", "idle": "idle", "shell": "idle", "waiting": WAITING_ACTIVITY}


def observe(session: Session) -> Observation:
    """What the agent said and does; see `base.Backend.observe`."""
    # The probe first: Claude reports a turn's end before it says that it is idle, so what an idle Claude has reported
    # stands in the facts that are read afterwards.
    probe = look(session)
    fields = reports(session)
    found = ((hooks.fact(payload, values), values) for payload, values in fields)
    facts = [questions.with_task(fact, values) for fact, values in found if fact is not None]
    facts += questions.answered(session.folder, fields, probe)
    path = transcript_path(session, [values for _, values in fields])
    facts = plans.told(facts, path)
    reported = bool(facts)
    when = _unclear_since(facts, probe) if reported else first_attempt(session)
    entries = transcript.since(path, when - _SLACK) if path and when is not None else []
    told = list(transcript.facts(entries))
    facts = _with_transcript(facts, told, reported)
    facts, probe = limits.told(facts, probe, path, session.continues)
    settled = _settled(probe, facts, entries) if reported else _without_hooks(probe, facts, session, path)
    return Observation(facts, settled)


def reports(session: Session, since: float = 0.0) -> list[tuple[Payload, dict[str, Any]]]:
    """What Claude has reported since a time, each report with its fields.

    In a container anybody could have written it: a transcript that is not in Claude's own folder is not there.
    """
    found = [(payload, hooks.parse(payload)) for payload in session.folder.facts(since)]
    if session.contained:
        for _, fields in found:
            path = hooks.words(fields, "transcript_path")
            if path is not None and not container_files.is_transcript(path, config_folder(session)):
                del fields["transcript_path"]
    return found


def look(session: Session) -> Probe:
    """What can be seen of the agent's process now."""
    now = time.time()
    process = session.folder.process()
    if process is None:
        return _unborn(session, now)
    if not processes.is_running(*process):
        earlier = process[1] == processes.EARLIER_BOOT
        died = "the machine was started anew" if earlier else "the agent's process is gone: killed, or crashed"
        return Probe(now, False, since=0.0, detail=died)
    status = status_file(session, process)
    activity = _ACTIVITIES.get(str(status.get("status")))
    if activity is None:
        return _at_a_dialog(session, Probe(now, True))
    changed = as_number(status.get("statusUpdatedAt") or status.get("updatedAt")) / 1000
    background = status.get("status") == "shell"
    probe = Probe(now, True, activity, changed, status.get("waitingFor"), background=background)
    if activity == WAITING_ACTIVITY:
        text = f"Claude Code shows a dialog ({probe.detail or 'no details'})"
        return probe._replace(question=Question(f"dialog-{int(changed * 1000)}", "dialog", text, (), changed))
    return probe


def status_file(session: Session, process: tuple[int, str]) -> dict[str, Any]:
    """Claude's own file on that process, or on that session; empty if there is none of a living process."""
    return _found_status(session, process)[1]


def _found_status(session: Session, process: tuple[int, str]) -> tuple[str, dict[str, Any]]:
    """The status file, as (path, content); without one, (the folder that it should come to, {})."""
    folder = os.path.join(config_folder(session), "sessions")
    if session.contained:
        return folder, _of_another_pid(folder)
    path = os.path.join(folder, f"{process[0]}.json")
    if status := _status(path, process):
        return path, status
    # `claude` may be a wrapper that runs the real one as its child. It, or the user's settings, may choose the folder.
    told = transcript_path(session, [fields for _, fields in reports(session)])
    folder = os.path.join(config_of(told) or config_folder(session), "sessions")
    ids = {session.private.get("uuid"), os.path.basename(told or "").removesuffix(".jsonl")}
    for path in _status_files(folder):
        status = _status(path, process)
        if status and (status["pid"] == process[0] or status.get("sessionId") in ids):
            return path, status
    return folder, {}


def _of_another_pid(folder: str) -> dict[str, Any]:
    """The status file in a folder that one Claude alone writes to, whose pid is one of its container."""
    found = [value for path in _status_files(folder) if isinstance(value := _written(path), dict)]
    return max(found, key=lambda one: as_number(one.get("statusUpdatedAt") or one.get("updatedAt")), default={})


def _status_files(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in container_files.listed(folder) if name.endswith(".json")]


def _status(path: str, alive: tuple[int, str] | None = None) -> dict[str, Any]:
    """A status file, unless the process that it speaks of is gone; that of `alive` is known to run."""
    value = _written(path)
    if not isinstance(value, dict) or not isinstance(value.get("pid"), int):
        return {}
    pid = value["pid"]
    started = alive[1] if alive and alive[0] == pid else processes.start_time(pid)
    return value if started is not None and value.get("procStart") in (None, started) else {}


def _written(path: str) -> Any:
    """What a status file holds. Claude writes it in place: caught in the middle, it is read again."""
    content = container_files.read(path)
    value = None if content is None else files.parse_json(content)
    return value if content is None or value is not None else _written_at_last(path)


def _written_at_last(path: str) -> Any:
    from ...system.waiting import Watcher

    until = time.monotonic() + _WRITING
    with Watcher() as watcher:
        watcher.watch_path(path)
        while (value := container_files.read_json(path)) is None and (left := until - time.monotonic()) > 0:
            watcher.wait(left)
    return value


def _unborn(session: Session, now: float) -> Probe:
    """No process yet: it is being created, or its creator died before the agent was born."""
    if session.being_created:
        return Probe(now, True, "busy", now)
    if session.record.get("ready_at"):
        return Probe(now, False, detail="its file `process` is gone; dev-sessions kill ends the agent if it still runs")
    return Probe(now, False, detail="the agent was never started")


def _at_a_dialog(session: Session, probe: Probe) -> Probe:
    """A dialog at the start: no hook and no status file exist before it is answered, so `create` left a notice."""
    notice = session.folder.notice()
    if notice is None:
        return probe
    at = as_number(notice.get("at"))
    question = Question(f"dialog-{int(at * 1000)}", "dialog", str(notice.get("text", "")), (), at)
    return probe._replace(activity=WAITING_ACTIVITY, since=at, question=question)


def _without_hooks(probe: Probe, facts: list[Fact], session: Session, path: str | None) -> Probe:
    """Without hooks, how a turn ended and what is asked stands in the transcript only, which lags behind the status."""
    settled = _settled(probe, facts)
    if settled is not probe:
        return settled
    # Behind a limit comes a menu, and no call of the model's.
    late = _is_late(probe) and not (facts and facts[-1].reason == LIMIT)
    if probe.activity != WAITING_ACTIVITY or not path or probe.question is None or session.folder.notice():
        return probe
    call = transcript.open_tool_call(transcript.since(path, probe.since - 60.0))
    if call is None:
        return probe._replace(activity="busy", question=None) if late else probe
    name, given, at = call
    return probe._replace(question=hooks.asked(f"tool-{int(at * 1000)}", name, given, at))


def _settled(probe: Probe, facts: list[Fact], entries: list[dict[str, Any]] | None = None) -> Probe:
    """The probe, still `busy` while the word on how the last turn ended may be on its way.

    Claude does not wait for its StopFailure hook before it says that it is idle, and writes the transcript after that.

    Args:
        entries: what the transcript says, if the facts are not from there.
    """
    marks = [fact for fact in facts if fact.kind in ("accepted", "started", "ended", "alive")]
    if probe.activity != "idle" or not _is_late(probe) or not marks or marks[-1].kind == "alive":
        return probe
    last = marks[-1]
    if last.kind != "ended":
        return probe._replace(activity="busy")
    if entries is None or probe.since <= last.at + _AT_REST or transcript.has_ended(entries, last.at):
        return probe
    return probe._replace(activity="busy", since=last.at)  # at the same turn: it may have gone on, and been interrupted


def _is_late(probe: Probe) -> bool:
    """True while the transcript may lag behind the status. A status of the future was stamped by a clock set back."""
    return -1.0 <= probe.now - probe.since < transcript.LAG


def _unclear_since(facts: list[Fact], probe: Probe) -> float | None:
    """From when on the hooks leave something open that the transcript tells, or None.

    No hook reports an interrupt, not even of a turn that had gone on after its end, nor what becomes of a prompt that
    was taken while a turn was running, nor that a key stopped the subagents: the agent is told so by a prompt like any
    other.
    """
    ended = 0.0
    running: dict[str | None, float] = {}
    unclear: float | None = None
    left: float | None = None  # since when subagents run
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
    if unclear is None and probe.activity != "busy":
        if running:
            unclear = min(running.values())
        elif ended and probe.since > ended + _AT_REST:
            unclear = ended
    return unclear


def first_attempt(session: Session) -> float | None:
    """Without hooks everything has to come from the transcript, from our first message on."""
    attempts = [message.attempted for message in session.folder.messages() if message.attempted is not None]
    return min(attempts) if attempts else None


def _with_transcript(facts: list[Fact], told: list[Fact], reported: bool) -> list[Fact]:
    if reported:
        ends = [fact for fact in facts if fact.kind == "ended"]
        told = [
            # What was started before this stretch, it does not tell.
            fact._replace(subagents=None) if fact.kind == "ended" else fact
            for fact in told
            if fact.kind in ("joined", "started", "returned", "stopped")
            or (fact.kind == "ended" and not _reported(fact, ends))
        ]
    return sorted([*facts, *told], key=lambda fact: fact.at) if told else facts


def _reported(end: Fact, ends: list[Fact]) -> bool:
    """True if a hook has reported that end too; before 2.1.194 its report has no prompt to know it by."""
    if end.outcome == INTERRUPTED:  # which no hook reports; the turn may have gone on after an end that one did
        return any(one.prompt == end.prompt and one.at > end.at for one in ends)
    near = (one for one in ends if one.prompt is None and abs(one.at - end.at) < transcript.LAG)
    return any(one.prompt == end.prompt for one in ends) or any(near)


def transcript_path(session: Session, payloads: list[dict[str, Any]]) -> str | None:
    """Where the transcript is: as the last report says, else by the session's uuid under the projects folder."""
    for fields in reversed(payloads):
        if path := told_transcript(session, fields):
            return path
    projects = os.path.join(config_folder(session), "projects")
    name = f"{session.private.get('uuid')}.jsonl"
    folders = container_files.listed(projects)
    return next((path for folder in folders if os.path.exists(path := os.path.join(projects, folder, name))), None)


def told_transcript(session: Session, fields: dict[str, Any]) -> str | None:
    """The transcript that a report names, absolute.

    If its CLAUDE_CONFIG_DIR is relative, so is the name: to the folder that Claude was started in (2.1.332).
    """
    path = hooks.words(fields, "transcript_path")
    return os.path.join(str(session.record.get("path") or ""), path) if path and "\0" not in path else None


def config_of(transcript: str | None) -> str | None:
    """The configuration folder in which a transcript is: `<config>/projects/<project>/<session id>.jsonl`."""
    projects = os.path.dirname(os.path.dirname(transcript or ""))
    return os.path.dirname(projects) if os.path.basename(projects) == "projects" else None


def pane_name(session: Session) -> str:
    """The tmux session's name at its start: `tmux attach -t dev-<id>` is what a person types."""
    return str(session.private.get("terminal") or f"dev-{session.id}")


def config_folder(session: Session) -> str:
    """The Claude configuration folder of the session: as its first report told, before that as its environment says."""
    return str(session.private.get("config") or "")


def sources(session: Session) -> Sources:
    """What to watch; see `base.Backend.sources`."""
    folder, process = session.folder, session.folder.process()
    own = os.path.join(config_folder(session), "sessions", f"{process[0]}.json") if process else ""
    # Claude writes its status file in place (2.1.330); the folder, which it shares with all others, only bears it.
    status = own if not process or os.path.exists(own) else _found_status(session, process)[0]
    # That it does not go on after all, only the transcript says.
    spoken = transcript_path(session, []) if session.continues else None
    paths = (status, spoken) if spoken else (status,)
    return Sources(paths, (process,) if process else (), (folder.facts_path, folder.messages_path, folder.path))
