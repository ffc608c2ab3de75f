"""The replies of a Claude session: its transcript, and the last report where the transcript lags behind."""

from __future__ import annotations

import math

from ...model import COMPLETED, Entry, Fact
from ...turns import unfinished
from . import hooks, observe, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base import Session


def replies(session: Session, count: int, running: bool) -> list[Entry]:
    """The last assistant texts, oldest first; see `base.Backend.history`."""
    fields = observe.reports(session)
    told = [fact for payload, values in fields if (fact := hooks.fact(payload, values)) is not None]
    path = observe.transcript_path(session, [values for _, values in fields])
    if not told and path:
        told = list(transcript.facts(transcript.since(path, observe.first_attempt(session) or 0.0)))
    skip, before = unfinished(told) if running else (frozenset(), math.inf)
    told = [fact for fact in told if fact.kind != "ended" or (fact.prompt not in skip and fact.at < before)]
    found = transcript.replies(path, count, skip, before) if path else []
    return _with_report(found, told, len(found) < count)[-count:]


def _with_report(found: list[Entry], told: list[Fact], all: bool) -> list[Entry]:
    """Add the reported replies that are not on the disk: Stop fires before the reply is written.

    That of the last turn may come there yet; that of a turn after which the agent was killed never will.

    Args:
        all: the transcript holds no more than what was found.
    """
    for last in _last_ends(told):
        begun = max((fact.at for fact in told if fact.kind == "accepted" and fact.at <= last.at), default=0.0)
        written = any(_same(entry, last, begun) for entry in found)
        earlier = not all and last.at < found[0].at
        if not written and not earlier:
            reply = Entry("assistant", last.reply or "", last.at, last.prompt)
            found = sorted([*found, reply], key=lambda entry: entry.at)
    return found


def _last_ends(told: list[Fact]) -> list[Fact]:
    """The last turn of each life of the agent, if it has ended with a reply."""
    found: list[Fact] = []
    last: Fact | None = None
    for fact in (*told, Fact("alive", math.inf)):
        if fact.kind == "alive":
            found += [last] if last is not None else []
            last = None
        elif fact.kind == "ended":
            last = fact if fact.outcome == COMPLETED and fact.reply else None
    return found


def _same(entry: Entry, fact: Fact, begun: float) -> bool:
    # Before 2.1.194 a report does not name its prompt; of a session's first turn the transcript may not.
    of_that_turn = entry.prompt == fact.prompt if entry.prompt and fact.prompt else entry.at >= begun
    return of_that_turn and entry.text.strip() == (fact.reply or "").strip()
