"""A limit of the account that ended a turn: when it resets, and whether Claude Code continues then.

The report (StopFailure) shows that it was a limit. Everything else is only in the transcript, and only for users who
are logged in: when the limit resets (in 2.1.330 and 2.1.332), that Claude will continue automatically then (a notice
after the error, and another one if that is cancelled), and which prompt it uses to continue.
"""

from __future__ import annotations

from ...model import IDLE, LIMIT
from ...turns import BUSY_ACTIVITY
from . import transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Fact, Probe

# The first release that continues automatically and has a setting for that (according to its changelog).
SINCE = "2.1.234"
# How long after the event a report may be written: the hook's own time limit. Seconds.
_REPORT_SECONDS = 30.0
# How much later than the report the transcript's line may be. Seconds.
_SLACK = 0.5
# Claude continues 30 to 90 s after the reset, and if that was too early, up to 5 minutes later. If it has not continued
# by then, it will not (for example because the machine slept). Seconds.
_PATIENCE = 600.0
# How often it continues automatically for one prompt at most (2.1.332).
_ROUNDS = 3


def applied(facts: list[Fact], probe: Probe, path: str | None, continues: bool) -> tuple[list[Fact], Probe]:
    """The facts and the probe, with what the transcript `path` says about limits.

    Each end caused by a limit gets the time of the reset. While the transcript may still add something about such an
    end, the end is left out and the agent counts as busy; if the session `continues` at a reset, until it does.
    """
    first = next((fact.at for fact in facts if fact.reason == LIMIT), None)
    if first is None or path is None:
        return facts, probe
    entries = transcript.since(path, first - _REPORT_SECONDS)
    errors = [entry for entry in entries if entry.get("isApiErrorMessage") is True]
    found, before = [], 0.0
    for fact in facts:
        if fact.reason == LIMIT:
            # The last error before this end and after the previous end.
            own = [entry for entry in errors if before < transcript.stamp(entry) <= fact.at + _SLACK]
            fact = fact._replace(resets_at=transcript.reset(own[-1])) if own else fact
        found.append(fact)
        before = fact.at if fact.kind == "ended" else before
    rounds = 0
    if continues:
        found, rounds = _joined(found, entries, probe.now)
    marks = ("accepted", "started", "ended", "alive", "gone")
    place = max((place for place, fact in enumerate(found) if fact.kind in marks), default=-1)
    last = found[place]
    if last.reason != LIMIT or probe.running is False:
        return found, probe
    # The error that ended the turn, and the entries after it; empty if the error is not there yet.
    said: list[dict[str, Any]] = []
    if errors and transcript.stamp(errors[-1]) >= last.at - _REPORT_SECONDS:
        said = entries[next(place for place, entry in enumerate(entries) if entry is errors[-1]) :]
    fresh = 0 <= probe.now - last.at < transcript.LAG
    goes_on = continues and rounds < _ROUNDS and _goes_on(said, last, rounds, probe)
    if not goes_on and not (fresh and (continues or not said)):
        return found, probe
    until = last.resets_at if goes_on and probe.activity == IDLE else None
    probe = probe._replace(activity=BUSY_ACTIVITY, question=None, paused_until=until)
    return [*found[:place], *found[place + 1 :]], probe


def _joined(facts: list[Fact], entries: list[dict[str, Any]], now: float) -> tuple[list[Fact], int]:
    """The facts without the ends after which Claude continued automatically, and without its own prompts for that.

    Also returns how often it has done so since the last other prompt.
    """
    prompts = {entry.get("promptId"): transcript.goes_on(entry) for entry in entries if entry.get("type") == "user"}
    found: list[Fact] = []
    rounds = 0
    for fact in facts:
        # The transcript identifies the prompt a moment after the report.
        own = fact.kind == "accepted" and prompts.get(fact.prompt, now - fact.at < transcript.LAG)
        if own and found and found[-1].reason == LIMIT:
            found.pop()
            rounds += 1
            continue
        rounds = 0 if fact.kind == "accepted" else rounds
        found.append(fact)
    return found, rounds


def _goes_on(said: list[dict[str, Any]], end: Fact, rounds: int, probe: Probe) -> bool:
    """True if Claude will continue when the limit resets, and that was not cancelled; or if it continues already.

    Its status shows that it works a moment before it reports the prompt.
    """
    if probe.activity != IDLE:
        return probe.activity == BUSY_ACTIVITY
    notices = [entry for entry in said if entry.get("subtype") == "informational"]
    queued = any(entry.get("operation") == "enqueue" for entry in said)  # its own prompt: it is about to continue
    armed = len(notices) == (0 if rounds else 1)  # it writes no new notice when it reaches the same limit again
    if end.resets_at is None or not (armed or queued):
        return False
    return probe.now <= max(end.resets_at, end.at) + _PATIENCE
