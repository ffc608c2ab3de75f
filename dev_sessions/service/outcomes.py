"""The conditions that a `wait` waits for, and the outcome of a session that has reached one."""

from __future__ import annotations

import time

from ..errors import UsageError
from ..model import EXITED, FAILED, IDLE, INTERRUPTED, LIMIT, WAITING, WORKING
from ..turns import batch, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from ..model import State, Turn
    from .context import Session

    class Condition(Protocol):
        def __call__(self, session: Session, state: State) -> dict[str, Any] | None:
            """The outcome of a session; None while it has not reached the condition."""


_HELP = "dev-sessions wait --help"
# An idle agent that has not gone on with an active goal for this long has stopped pursuing it. Seconds.
_STILL = 2.0


def condition(sessions: Sequence[Session], turn: int | None, settled: bool, goal: bool, next_turn: bool) -> Condition:
    """The condition that the parameters of a `wait` name."""
    flags = {"--turn": turn is not None, "--settled": settled, "--goal": goal, "--next-turn": next_turn}
    given = [flag for flag, is_set in flags.items() if is_set]
    if len(given) > 1 and given != ["--turn", "--settled"]:
        raise UsageError(f"{' and '.join(given)} exclude each other", next=_HELP)
    if goal:
        return GoalOver(sessions)
    return NextTurn() if next_turn else Sent(turn, settled)


class Sent:
    """The end of all our turns, or of one of them."""

    def __init__(self, turn: int | None, settled: bool) -> None:
        self._turn, self._settled = turn, settled

    def __call__(self, session: Session, state: State) -> dict[str, Any] | None:
        turns = state.turns if self._turn is None else _only(session, state, self._turn)
        stuck = {EXITED: EXITED, WAITING: WAITING}.get(state.status)
        if not turns:
            return outcome(session, state, None, stuck or IDLE, ())
        if any(turn.open for turn in turns):
            if stuck is None:
                return None
            first = next(turn for turn in turns if turn.open)
            return outcome(session, state, first, stuck, batch(turns))
        if self._settled and state.background and stuck is None:
            return None
        last = batch(turns)
        if self._settled:
            last = tuple(turn if turn.later is None else turn._replace(reply=turn.later) for turn in last)
        worst = verdict(last)
        return outcome(session, state, worst, worst.state, last)


class NextTurn:
    """The end of the next turn that ends, whether it is ours or not."""

    def __init__(self) -> None:
        self._before: dict[str, Turn | None] = {}

    def __call__(self, session: Session, state: State) -> dict[str, Any] | None:
        before = self._before.setdefault(session.id, state.last)
        if state.last is not None and _is_after(state.last, before):
            ours = [turn for turn in state.turns if turn.ended == state.last.ended]
            turns = ours or [state.last]
            return outcome(session, state, verdict(turns), state.last.state, turns)
        return _stuck(session, state)


def _is_after(turn: Turn, before: Turn | None) -> bool:
    """True if `turn` ended later than `before` and is another turn: a turn may report its end again, at a new time."""
    if before is None:
        return True
    same = (turn.began, turn.prompt) == (before.began, before.prompt)
    return not same and (turn.ended or 0.0) >= (before.ended or 0.0)


class GoalOver:
    """The end of a goal; the outcome is the goal's status once the agent is idle.

    Raises:
        Unsupported: an agent does not pursue goals.
        UsageError: a session has no goal.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        from ..backends.base import Goals  # slow to import for every other `wait`

        self._backends = {session.id: session.require(Goals, "goal") for session in sessions}
        self._known: set[str] = set()
        self._still: dict[str, float] = {}

    def __call__(self, session: Session, state: State) -> dict[str, Any] | None:
        stuck = _stuck(session, state)
        if stuck is not None or (state.status == WORKING and session.id in self._known):
            self._still.pop(session.id, None)
            return stuck
        goal = self._backends[session.id].goal(session)
        if goal is None and session.id not in self._known:
            raise UsageError(f"{session.id} has no goal", next=f"dev-sessions goal {session.id} OBJECTIVE")
        self._known.add(session.id)
        if state.status == WORKING:
            return None
        if goal is None:
            return {**outcome(session, state, None, "cleared", ()), "error": "the goal was cleared", "goal": None}
        if goal["status"] != "active":
            limited = _limit(state.last) if goal["status"] == "usageLimited" else {}
            reached = {**outcome(session, state, None, goal["status"], ()), **limited}
            return {**reached, "error": _why(session, state, goal), "goal": goal}
        return self._stalled(session, state, goal)

    def _stalled(self, session: Session, state: State, goal: dict[str, Any]) -> dict[str, Any] | None:
        """An active goal that is not pursued: its turn was interrupted or failed, or its server has ended."""
        # Nothing follows a turn that was cut; between two turns of a goal there is a short pause.
        cut = state.last is not None and state.last.state == INTERRUPTED and state.last.error is not None
        if not cut and time.monotonic() - self._still.setdefault(session.id, time.monotonic()) < _STILL:
            return None
        last = state.last if state.last and state.last.state in (FAILED, INTERRUPTED) else None
        word = last.state if last else INTERRUPTED
        why = f"the agent has stopped pursuing the goal{_because(last.error if last else None)}; {_go_on(session)}"
        return {**outcome(session, state, None, word, ()), **_ending(last), "error": why, "goal": goal}


_WHYS = {
    "paused": "the goal is paused",
    "blocked": "the agent cannot go on with the goal",
    "usageLimited": "the account has reached a limit",
    "budgetLimited": "the budget is spent; give it more: dev-sessions goal {id} --budget N",
}


def _limit(last: Turn | None) -> dict[str, Any]:
    """Why a limit has stopped a goal and when it resets, from the turn that reached the limit."""
    return {"reason": LIMIT, "resets_at": last.resets_at if last and last.reason == LIMIT else None}


def _why(session: Session, state: State, goal: dict[str, Any]) -> str | None:
    why = _WHYS.get(goal["status"])
    if why is None or "{id}" in why:
        return why and why.format(id=session.id)
    failure = state.last.error if state.last and state.last.state == FAILED else None
    return f"{why}{_because(failure)}; {_go_on(session)}"


def _because(error: str | None) -> str:
    return f" ({error})" if error else ""


def _go_on(session: Session) -> str:
    return f"resume it with: dev-sessions goal {session.id} --resume"


def _stuck(session: Session, state: State) -> dict[str, Any] | None:
    """The outcome that ends any wait: the agent has exited, or asks something."""
    if state.status not in (EXITED, WAITING):
        return None
    turn = next((turn for turn in state.turns if turn.number == state.turn and turn.open), None)
    return outcome(session, state, turn, state.status, (turn,) if turn else ())


def _only(session: Session, state: State, number: int) -> tuple[Turn, ...]:
    found = tuple(turn for turn in state.turns if turn.number == number)
    if not found:
        raise UsageError(f"{session.id} has no turn {number}", next=f"dev-sessions status {session.id} --json")
    return found


def outcome(session: Session, state: State, turn: Turn | None, word: str, turns: Sequence[Turn]) -> dict[str, Any]:
    """An outcome as `wait --json` prints it. Only turns of our messages have a number."""
    error = (turn.error if turn else None) or (state.error if word == EXITED else None)
    if word == INTERRUPTED and error is None:
        error = "the turn was interrupted"
    return {
        "session": session.id,
        "turn": (turn.number or None) if turn else None,
        "outcome": word,
        "turns": [_turn(one) for one in turns],
        "error": error,
        **_ending(turn),
        "question": state.question.to_json() if word == WAITING and state.question else None,
    }


def _turn(turn: Turn) -> dict[str, Any]:
    number = turn.number or None
    return {"turn": number, "outcome": turn.state, "reply": turn.reply, "error": turn.error, **_ending(turn)}


def _ending(turn: Turn | None) -> dict[str, Any]:
    return {"reason": turn.reason if turn else None, "resets_at": turn.resets_at if turn else None}
