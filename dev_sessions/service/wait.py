"""`wait`: one loop over any number of sessions, woken by their agents' own events."""

from __future__ import annotations

import math
import os
import time

from ..backends.session import Sources
from ..errors import UsageError
from ..model import EXITED
from ..system import processes
from ..system.waiting import Watcher
from .delivery import start_courier
from .notices import Notices
from .outcomes import condition
from .selection import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from ..model import State
    from .context import Context, Session

TIMEOUT = "timeout"
_CENTURY = 3.2e9
# When to read a session again after a change: its state may change by time alone (see the grace periods of `fold`).
# Seconds.
_SETTLING = (0.0, 1.0, 2.0, 5.0, 6.0)
# How often to read a session that has not changed, in seconds, and how many of them a second at most.
_SELDOM, _READS = 60.0, 5.0
# The limits of the interval between two safety checks. Seconds.
_SHORTEST, _LONGEST = 0.05, 60.0
# A safety check visits at least this many sessions, and so many that it visits each one within this many seconds.
_MANY, _ROUND = 100, 10.0
# Two changes of a file within this time may leave the same time stamp. Nanoseconds.
_STAMP_RESOLUTION = 50_000_000


def wait(
    context: Context, params: dict[str, Any], request_id: str
) -> Generator[dict[str, Any] | None, None, list[dict[str, Any]]]:
    """Yield the outcome of each of the sessions `ids` or of a `group` when it is known; returns all of them.

    A session has an outcome when none of our turns is open, or when its agent asks something. Parameters: `any` (return
    the first outcome), `turn` (wait for that one only), `settled` (also for work left in the background), `goal` or
    `next_turn` (see `outcomes`), `timeout` and `interval` in seconds.
    """
    sessions = named(context, params.get("ids"), params.get("group"))
    turn, settled = params.get("turn"), bool(params.get("settled"))
    outcome_of = condition(sessions, turn, settled, bool(params.get("goal")), bool(params.get("next_turn")))
    interval = min(max(_seconds("interval", params.get("interval") or 1.0), _SHORTEST), _LONGEST)
    timeout = params.get("timeout")
    deadline = None if timeout is None else time.monotonic() + _seconds("timeout", timeout)
    outcomes: list[dict[str, Any]] = []
    with Watcher() as watcher, Notices(watcher) as notices:
        pending = [_Pending(session) for session in sessions]
        tick = time.monotonic() + interval
        while pending:
            moved, now = notices.read(), time.monotonic()
            visits = {one for one in pending if one.settles <= now or not one.watched.isdisjoint(watcher.changed)}
            if now >= tick:
                tick = now + interval
                visits |= _safety_check(pending, interval)
            seldom = max(_SELDOM, len(pending) / _READS)
            due = [one for one in pending if one.session.id in moved or (one in visits and one.visit(watcher, seldom))]
            for one in due:
                one.session = _with_past(one.session, turn)
            for one, state in zip(due, context.states([one.session for one in due]), strict=True):
                exists = os.path.isdir(one.session.folder.path)
                outcome = outcome_of(one.session, state) if exists else _gone(one.session)
                if outcome is None:
                    _ensure_courier(one.session, state)
                else:
                    pending.remove(one)
                    outcomes.append(outcome)
                    yield outcome
            if not pending or (params.get("any") and outcomes):
                break
            yield from notices.new([one.session for one in pending if one in visits or one.session.id in moved])
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                for one in pending:
                    outcomes.append(_timed_out(one.session, turn, notices.last(one.session)))
                    yield outcomes[-1]
                break
            until = min(tick, *(one.settles for one in pending), math.inf if deadline is None else deadline)
            watcher.wait(0.0 if notices.moved else until - now)
            yield None  # a keep-alive: writing it shows whether the client is still connected
    return outcomes[:1] if params.get("any") else outcomes


def _safety_check(pending: list[_Pending], interval: float) -> set[_Pending]:
    """The sessions to visit without an event: those that cannot be watched, and those visited longest ago.

    Every session has its turn, since a file system may accept a watch and report nothing (a network mount).
    """
    count = max(_MANY, math.ceil(len(pending) * interval / _ROUND))
    longest_ago = sorted(pending, key=lambda one: one.visited)
    return {*longest_ago[:count], *(one for one in pending if not one.armed)}


class _Pending:
    """A session without an outcome yet. It decides when the session is read again.

    Reading a session reads its whole state; a visit only checks whether anything has changed, in about four system
    calls.

    Attributes:
        visited: the time of the last visit.
        settles: the time at which its state may change without an event.
        watched: the paths and processes that may change.
        armed: all of them are watched.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.visited = self.settles = 0.0
        self.watched: frozenset[str | tuple[int, str]] = frozenset()
        self.armed = False
        self._sources = Sources((), ())
        self._seen: list[tuple[int, int]] | None = None
        self._running: list[bool] = []
        self._read = self._changed = -math.inf

    def visit(self, watcher: Watcher, seldom: float) -> bool:
        """True if it is time to read the session. Any later change causes an event, or is found by a later visit.

        Args:
            seldom: read it after this many seconds even if it has not changed.
        """
        now, clock = time.monotonic(), time.time_ns()
        self.visited = now
        reported = not self.watched.isdisjoint(watcher.changed)
        if reported or self._stamps() != self._seen or self._alive() != self._running:
            self._changed = now
            self._sources = paths, ends, arrivals = self.session.sources()
            self.watched = frozenset((*paths, *ends, *arrivals))
            self.armed = watcher.watch(*self._sources)
            # Watch first, then read the stamps. A file that changed just now may change again and keep its stamp.
            self._running, stamps = self._alive(), self._stamps()
            self._seen = stamps if clock - max((stamp for stamp, _ in stamps), default=0) > _STAMP_RESOLUTION else None
        last, passed = self._read - self._changed, now - self._changed
        self.settles = next((self._changed + moment for moment in _SETTLING if moment > passed), math.inf)
        settling = any(last < moment <= passed for moment in _SETTLING)
        if not settling and now - self._read < seldom:
            return False
        self._read = now
        return True

    def _stamps(self) -> list[tuple[int, int]]:
        stamps = []
        for path in (*self._sources.paths, *self._sources.arrivals):
            try:
                status = os.stat(path)
                stamps.append((status.st_mtime_ns, status.st_size))
            except OSError:
                stamps.append((0, 0))
        return stamps

    def _alive(self) -> list[bool]:
        """Whether each of its processes is running; empty if the end of each causes an event."""
        return [] if self.armed else [processes.is_running(*process) for process in self._sources.processes]


def _with_past(session: Session, turn: int | None) -> Session:
    """The session, with its compacted turns if `turn` is one of them."""
    compacted = turn is not None and turn <= session.folder.past.mark().through
    return session.whole() if compacted else session


def _seconds(name: str, value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < _CENTURY:
        raise UsageError(f"the {name} must be a number of seconds, not {value}", next="dev-sessions wait --help")
    return seconds


def _gone(session: Session) -> dict[str, Any]:
    """The outcome of a session whose folder is gone."""
    record = session.context.store.load().get(session.id)
    if record is None or record["key"] != session.record["key"]:
        return _killed(session)
    error = f"its folder {session.folder.path} is gone; dev-sessions kill {session.id} ends its agent"
    return {**_killed(session), "error": error}


def _killed(session: Session) -> dict[str, Any]:
    return {
        "session": session.id,
        "turn": None,
        "outcome": EXITED,
        "turns": [],
        "error": "the session was killed",
        "reason": None,
        "resets_at": None,
        "question": None,
    }


def _ensure_courier(session: Session, state: State) -> None:
    """Start a courier if the one for queued messages died; otherwise the wait for them would never end."""
    if state.queued and not session.folder.courier():
        start_courier(session)


def _timed_out(session: Session, turn: int | None, error: str | None) -> dict[str, Any]:
    return {
        "session": session.id,
        "turn": turn,
        "outcome": TIMEOUT,
        "turns": [],
        "error": "timed out; the agent goes on" + (f". It has reported: {error}" if error else ""),
        "reason": None,
        "resets_at": None,
        "question": None,
    }
