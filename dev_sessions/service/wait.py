"""`wait`: one loop over any number of sessions, woken by their agents' own events."""

from __future__ import annotations

import math
import os
import time

from ..backends.session import Sources
from ..errors import UsageError
from ..model import EXITED, QUEUED
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
# Time alone brings about more so long after a move (see the graces of `turns`). Seconds.
_SETTLING = (0.0, 1.0, 2.0, 5.0, 6.0)
# Later a look now and then is enough. Seconds.
_SELDOM = 60.0
# The shortest pause between two looks, and the longest silence, whatever interval is asked for. Seconds.
_PAUSE, _SIGN_OF_LIFE = 0.05, 60.0
# A safety tick visits so many sessions; if there are more, no more than visit each of them within so many seconds.
_MANY, _ROUND = 100, 10.0
# Two changes closer than this may bear the same stamp. Nanoseconds.
_TICK_OF_FILES = 50_000_000


def wait(
    context: Context, params: dict[str, Any], request_id: str
) -> Generator[dict[str, Any] | None, None, list[dict[str, Any]]]:
    """Outcomes of the sessions `ids` or of a `group`, as they end; an event tells each when it is known.

    Returns when no turn of ours is open, or an agent asks something. Parameters: `any` (the first is enough), `turn`
    (only that one), `settled` (also work left in the background), `goal` or `next_turn` (see `outcomes`), `timeout` and
    `interval` in seconds.
    """
    sessions = named(context, params.get("ids"), params.get("group"))
    turn, settled = params.get("turn"), bool(params.get("settled"))
    outcome_of = condition(sessions, turn, settled, bool(params.get("goal")), bool(params.get("next_turn")))
    interval = min(max(_seconds("interval", params.get("interval") or 1.0), _PAUSE), _SIGN_OF_LIFE)
    timeout = params.get("timeout")
    deadline = None if timeout is None else time.monotonic() + _seconds("timeout", timeout)
    outcomes: list[dict[str, Any]] = []
    with Watcher() as watcher, Notices(watcher) as notices:
        pending = [_Look(session) for session in sessions]
        tick = time.monotonic() + interval
        while pending:
            moved, now = notices.read(), time.monotonic()
            visits = {look for look in pending if look.settles <= now or not look.watched.isdisjoint(watcher.changed)}
            if now >= tick:
                tick = now + interval
                visits |= _on_the_round(pending, interval)
            due = [look for look in pending if look.session.id in moved or (look in visits and look.due(watcher))]
            for look in due:
                look.session = _reaching(look.session, turn)
            for look, state in zip(due, context.states([look.session for look in due]), strict=True):
                there = os.path.isdir(look.session.folder.path)
                outcome = outcome_of(look.session, state) if there else _ended(look.session)
                if outcome is None:
                    _see_to_queue(look.session, state)
                else:
                    pending.remove(look)
                    outcomes.append(outcome)
                    yield outcome
            if not pending or (params.get("any") and outcomes):
                break
            yield from notices.new([look.session for look in pending if look in visits or look.session.id in moved])
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                for look in pending:
                    outcomes.append(_timed_out(look.session, turn, notices.last(look.session)))
                    yield outcomes[-1]
                break
            until = min(tick, *(look.settles for look in pending), math.inf if deadline is None else deadline)
            watcher.wait(0.0 if notices.moved else until - now)
            yield None  # a sign of life: who carries it on notices if nobody listens any more
    return outcomes[:1] if params.get("any") else outcomes


def _on_the_round(pending: list[_Look], interval: float) -> set[_Look]:
    """The sessions that a safety tick visits: those that cannot be watched, and of the others those whose turn it is.

    A file system may take a watch and report nothing (a network mount), so every session has its turn.
    """
    count = max(_MANY, math.ceil(len(pending) * interval / _ROUND))
    longest_ago = sorted(pending, key=lambda look: look.visited)
    return {*longest_ago[:count], *(look for look in pending if not look.armed)}


class _Look:
    """When to look at a session again: at once if something of it moved, and now and then in any case.

    A look reads all that is at hand of a session; a visit only asks whether anything moved, in some four system calls.

    Attributes:
        visited: the time of the last visit.
        settles: the time at which something may change without an event.
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
        self._looked = self._moved = -_SELDOM

    def due(self, watcher: Watcher) -> bool:
        """Visit it; True if it is time for a look. All that changes after this call is an event, or is seen later."""
        now, clock = time.monotonic(), time.time_ns()
        self.visited = now
        named = not self.watched.isdisjoint(watcher.changed)
        if named or self._stamps() != self._seen or self._alive() != self._running:
            self._moved = now
            self._sources = paths, ends, arrivals = self.session.sources()
            self.watched = frozenset((*paths, *ends, *arrivals))
            self.armed = watcher.watch(*self._sources)
            # Armed first, read second. What moved just now may move again within one tick of the file system's clock.
            self._running, stamps = self._alive(), self._stamps()
            self._seen = stamps if clock - max((stamp for stamp, _ in stamps), default=0) > _TICK_OF_FILES else None
        last, passed = self._looked - self._moved, now - self._moved
        self.settles = next((self._moved + moment for moment in _SETTLING if moment > passed), math.inf)
        settling = any(last < moment <= passed for moment in _SETTLING)
        if not settling and now - self._looked < _SELDOM:
            return False
        self._looked = now
        return True

    def _stamps(self) -> list[tuple[int, int]]:
        found = []
        for path in (*self._sources.paths, *self._sources.arrivals):
            try:
                status = os.stat(path)
                found.append((status.st_mtime_ns, status.st_size))
            except OSError:
                found.append((0, 0))
        return found

    def _alive(self) -> list[bool]:
        """Whether its processes run, if their end may not be an event."""
        return [] if self.armed else [processes.is_running(*process) for process in self._sources.processes]


def _reaching(session: Session, turn: int | None) -> Session:
    """The session, with its past if the turn asked for lies there."""
    behind = turn is not None and turn <= session.folder.past.mark().through
    return session.whole() if behind else session


def _seconds(name: str, value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < _CENTURY:
        raise UsageError(f"the {name} must be a number of seconds, not {value}", next="dev-sessions wait --help")
    return seconds


def _ended(session: Session) -> dict[str, Any]:
    record = session.context.store.load().get(session.id)
    if record is None or record["key"] != session.record["key"]:
        return _killed(session)
    gone = f"its folder {session.folder.path} is gone; dev-sessions kill {session.id} ends its agent"
    return {**_killed(session), "error": gone}


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


def _see_to_queue(session: Session, state: State) -> None:
    """A queued message whose courier died would be waited for without end."""
    if any(turn.state == QUEUED for turn in state.turns) and not session.folder.courier():
        start_courier(session)


def _timed_out(session: Session, turn: int | None, complaint: str | None) -> dict[str, Any]:
    return {
        "session": session.id,
        "turn": turn,
        "outcome": TIMEOUT,
        "turns": [],
        "error": "timed out; the agent goes on" + (f". It has complained: {complaint}" if complaint else ""),
        "reason": None,
        "resets_at": None,
        "question": None,
    }
