"""What Claude Code tells about a limit of the account that ended a turn: when it resets, and whether Claude goes on.

Its report (StopFailure) says that it was a limit. All else is in the transcript alone, and only for those who have
logged in: when it resets (in 2.1.330 and 2.1.332, not in 2.1.197), that Claude has set itself to go on then (a notice
behind the error; one more if that is cancelled), and which prompt is that of its going on.
"""

from __future__ import annotations

from ...model import IDLE, LIMIT
from ...turns import BUSY_ACTIVITY
from . import transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...model import Fact, Probe

# The first release that goes on by itself, and has a setting for it (its changelog).
SINCE = "2.1.234"
# A report may be written that long after what it reports: the hook's own bound. Seconds.
_REPORT_SECONDS = 30.0
# The transcript's line may bear a time that much later than the report. Seconds.
_SLACK = 0.5
# Claude goes on 30 to 90 s after the reset, and if that was too early up to 5 minutes later; one that has not by then
# does not any more (the machine slept, say). Seconds.
_PATIENCE = 600.0
# So many times at most it goes on by itself for one prompt of somebody's (2.1.332).
_ROUNDS = 3
_MARKS = ("accepted", "started", "ended", "alive", "gone")


def told(facts: list[Fact], probe: Probe, path: str | None, continues: bool) -> tuple[list[Fact], Probe]:
    """The facts with the time of the reset in each end that a limit brought about.

    An end is left out, and the agent is busy, while the transcript may still be about to say more of it; and if the
    session `continues` at a reset, from then on until it does: such an end is none.
    """
    first = next((fact.at for fact in facts if fact.reason == LIMIT), None)
    if first is None or path is None:
        return facts, probe
    entries = transcript.since(path, first - _REPORT_SECONDS)
    found, before = [], 0.0
    for fact in facts:
        found.append(_timed(fact, before, entries) if fact.reason == LIMIT else fact)
        before = fact.at if fact.kind == "ended" else before
    rounds = 0
    if continues:
        found, rounds = _carried(found, entries, probe.now)
    place = max((place for place, fact in enumerate(found) if fact.kind in _MARKS), default=-1)
    last = found[place]
    if last.reason != LIMIT or probe.running is False:
        return found, probe
    said = _behind(entries, last)
    fresh = 0 <= probe.now - last.at < transcript.LAG
    goes_on = continues and rounds < _ROUNDS and _goes_on(said, last, rounds, probe)
    if not goes_on and not (fresh and (continues or not said)):
        return found, probe
    until = last.resets_at if goes_on and probe.activity == IDLE else None
    probe = probe._replace(activity=BUSY_ACTIVITY, question=None, paused_until=until)
    return [*found[:place], *found[place + 1 :]], probe


def _timed(end: Fact, before: float, entries: list[dict[str, Any]]) -> Fact:
    """The end with the reset of the error that it reports: the last one before it, and behind the end before."""
    own = [entry for entry in entries if _is_error(entry) and before < transcript.stamp(entry) <= end.at + _SLACK]
    return end._replace(resets_at=transcript.reset(own[-1])) if own else end


def _is_error(entry: dict[str, Any]) -> bool:
    return entry.get("isApiErrorMessage") is True


def _carried(facts: list[Fact], entries: list[dict[str, Any]], now: float) -> tuple[list[Fact], int]:
    """The facts without the ends after which Claude went on by itself, and without the prompts of that.

    Returns also how often it has done so since the last prompt of somebody else's.
    """
    prompts = {entry.get("promptId"): transcript.goes_on(entry) for entry in entries if entry.get("type") == "user"}
    found: list[Fact] = []
    rounds = 0
    for fact in facts:
        # The transcript says a moment later than the report whose prompt that is.
        own = fact.kind == "accepted" and prompts.get(fact.prompt, now - fact.at < transcript.LAG)
        if own and found and found[-1].reason == LIMIT:
            found.pop()
            rounds += 1
            continue
        rounds = 0 if fact.kind == "accepted" else rounds
        found.append(fact)
    return found, rounds


def _behind(entries: list[dict[str, Any]], end: Fact) -> list[dict[str, Any]]:
    """The error that ended the turn, and what came behind it; empty if the error is not there yet."""
    places = [place for place, entry in enumerate(entries) if _is_error(entry)]
    if not places or transcript.stamp(entries[places[-1]]) < end.at - _REPORT_SECONDS:
        return []
    return entries[places[-1] :]


def _goes_on(said: list[dict[str, Any]], end: Fact, rounds: int, probe: Probe) -> bool:
    """True if Claude has set itself to go on when the limit resets, and that was not cancelled; or if it does already.

    Its status says that it works a moment before it reports the prompt.
    """
    if probe.activity != IDLE:
        return probe.activity == BUSY_ACTIVITY
    notices = [entry for entry in said if entry.get("subtype") == "informational"]
    queued = any(entry.get("operation") == "enqueue" for entry in said)  # its own prompt: it is about to go on
    armed = len(notices) == (0 if rounds else 1)  # at the same limit again it says nothing anew
    if end.resets_at is None or not (armed or queued):
        return False
    return probe.now <= max(end.resets_at, end.at) + _PATIENCE
