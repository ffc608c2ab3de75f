"""`wait`: one loop over any number of sessions, woken by their agents' own events."""

from __future__ import annotations

import os
import time

from ..errors import UsageError
from ..model import EXITED, IDLE, INTERRUPTED, QUEUED, WAITING
from ..turns import batch, verdict
from ..waiting import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from ..backends.base import Session
    from ..model import State, Turn
    from .house import House

TIMEOUT = "timeout"
_CENTURY = 3.2e9


def wait(
    house: House, params: dict[str, Any], request_id: str
) -> Generator[dict[str, Any], None, list[dict[str, Any]]]:
    """Outcomes of the sessions `ids`, in the order of their ending, each also sent as an event when it is known.

    Returns when no turn of ours is open, or an agent asks something. Parameters: `any` (the first is enough), `turn`
    (only that one), `settled` (also work left in the background), `timeout` and `interval` in seconds.
    """
    sessions = [house.session(id) for id in dict.fromkeys(params["ids"])]
    turn, settled = params.get("turn"), bool(params.get("settled"))
    interval = _seconds("interval", params.get("interval") or 1.0)
    timeout = params.get("timeout")
    deadline = None if timeout is None else time.monotonic() + _seconds("timeout", timeout)
    outcomes: list[dict[str, Any]] = []
    with Watcher() as watcher:
        pending = sessions
        while pending:
            _arm(house, watcher, pending)
            left = []
            for session, state in zip(pending, house.states(pending), strict=True):
                outcome = _outcome(session, state, turn, settled) if _exists(session) else _killed(session)
                if outcome is None:
                    left.append(session)
                    _see_to_queue(house, session, state)
                else:
                    outcomes.append(outcome)
                    yield outcome
            pending = left
            if not pending or (params.get("any") and outcomes):
                break
            seconds = interval if deadline is None else min(interval, deadline - time.monotonic())
            if seconds <= 0:
                for session in pending:
                    outcomes.append(_timed_out(session, turn))
                    yield outcomes[-1]
                break
            watcher.wait(seconds)
    return outcomes[:1] if params.get("any") else outcomes


def _seconds(name: str, value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < _CENTURY:
        raise UsageError(f"the {name} must be a number of seconds, not {value}", next="dev-sessions wait --help")
    return seconds


def _arm(house: House, watcher: Watcher, sessions: list[Session]) -> None:
    for session in sessions:
        sources = house.backend(session).sources(session)
        for path in sources.paths:
            watcher.watch_path(path)
        for process in sources.processes:
            watcher.watch_process(*process)


def _exists(session: Session) -> bool:
    return os.path.isdir(session.folder.path)


def _killed(session: Session) -> dict[str, Any]:
    return {
        "session": session.id,
        "turn": None,
        "outcome": EXITED,
        "turns": [],
        "error": "the session was killed",
        "question": None,
    }


def _see_to_queue(house: House, session: Session, state: State) -> None:
    """A queued message whose courier died would be waited for without end."""
    if any(turn.state == QUEUED for turn in state.turns) and not session.folder.courier():
        from .courier import start

        start(house, session)


def _outcome(session: Session, state: State, wanted: int | None, settled: bool) -> dict[str, Any] | None:
    """What `wait` says of a session; None if it has to go on."""
    turns = state.turns if wanted is None else _only(session, state, wanted)
    if not turns:
        word = {EXITED: EXITED, WAITING: WAITING}.get(state.status, IDLE)
        return _answer(session, state, None, word, ())
    if any(turn.open for turn in turns):
        stuck = {EXITED: EXITED, WAITING: WAITING}.get(state.status)
        if stuck is None:
            return None
        first = next(turn for turn in turns if turn.open)
        return _answer(session, state, first, stuck, batch(turns))
    if settled and state.background and state.status not in (EXITED, WAITING):
        return None
    last = batch(turns)
    worst = verdict(last)
    return _answer(session, state, worst, worst.state, last)


def _only(session: Session, state: State, number: int) -> tuple[Turn, ...]:
    found = tuple(turn for turn in state.turns if turn.number == number)
    if not found:
        raise UsageError(f"{session.id} has no turn {number}", next=f"dev-sessions status {session.id} --json")
    return found


def _answer(session: Session, state: State, turn: Turn | None, word: str, turns: tuple[Turn, ...]) -> dict[str, Any]:
    error = (turn.error if turn else None) or (state.error if word == EXITED else None)
    if word == INTERRUPTED and error is None:
        error = "the turn was interrupted"
    return {
        "session": session.id,
        "turn": turn.number if turn else None,
        "outcome": word,
        "turns": [_turn(one) for one in turns],
        "error": error,
        "question": state.question.to_json() if word == WAITING and state.question else None,
    }


def _turn(turn: Turn) -> dict[str, Any]:
    return {"turn": turn.number, "outcome": turn.state, "reply": turn.reply, "error": turn.error}


def _timed_out(session: Session, turn: int | None) -> dict[str, Any]:
    return {
        "session": session.id,
        "turn": turn,
        "outcome": TIMEOUT,
        "turns": [],
        "error": "timed out; the agent goes on",
        "question": None,
    }
