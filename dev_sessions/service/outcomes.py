"""What a `wait` waits for, and what it says of a session once that is there."""

from __future__ import annotations

import time

from ..errors import UsageError
from ..model import EXITED, FAILED, IDLE, INTERRUPTED, LIMIT, QUEUED, WAITING, WORKING
from ..turns import batch, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from ..backends.base import Session
    from ..model import State, Turn
    from .context import Context

    class Aim(Protocol):
        def __call__(self, session: Session, state: State) -> dict[str, Any] | None:
            """What `wait` says of a session; None if it has to go on."""


_HELP = "dev-sessions wait --help"
# What time an active goal is given to go on before it is taken for one that nobody pursues. Seconds.
_STILL = 2.0


def of_interrupt(before: State, after: State) -> str | None:
    """What became of what ran before an interrupt; None if nothing did, or if it goes on."""
    if before.status in (IDLE, EXITED):
        return None
    ran = {turn.number for turn in before.turns if turn.open and turn.state != QUEUED}
    if any(turn.number in ran and turn.state == INTERRUPTED for turn in after.turns):
        return INTERRUPTED  # whatever the agent has said since: it may comment on that its subagents were stopped
    if after.last is not None and after.last != before.last:
        return after.last.state
    return {IDLE: INTERRUPTED, EXITED: EXITED}.get(after.status)


def aim(
    context: Context, sessions: Sequence[Session], turn: int | None, settled: bool, goal: bool, next_turn: bool
) -> Aim:
    """What the parameters of a `wait` ask for."""
    asked = {"--turn": turn is not None, "--settled": settled, "--goal": goal, "--next-turn": next_turn}
    wanted = [flag for flag, given in asked.items() if given]
    if len(wanted) > 1 and wanted != ["--turn", "--settled"]:
        raise UsageError(f"{' and '.join(wanted)} exclude each other", next=_HELP)
    if goal:
        return GoalOver(context, sessions)
    return NextTurn() if next_turn else Sent(turn, settled)


class Sent:
    """The end of all that was sent, or of one turn of it."""

    def __init__(self, wanted: int | None, settled: bool) -> None:
        self._wanted, self._settled = wanted, settled

    def __call__(self, session: Session, state: State) -> dict[str, Any] | None:
        turns = state.turns if self._wanted is None else _only(session, state, self._wanted)
        stuck = {EXITED: EXITED, WAITING: WAITING}.get(state.status)
        if not turns:
            return answer(session, state, None, stuck or IDLE, ())
        if any(turn.open for turn in turns):
            if stuck is None:
                return None
            first = next(turn for turn in turns if turn.open)
            return answer(session, state, first, stuck, batch(turns))
        if self._settled and state.background and stuck is None:
            return None
        last = batch(turns)
        if self._settled:
            last = tuple(turn if turn.later is None else turn._replace(reply=turn.later) for turn in last)
        worst = verdict(last)
        return answer(session, state, worst, worst.state, last)


class NextTurn:
    """The end of a turn that ends from now on, whosoever began it."""

    def __init__(self) -> None:
        self._before: dict[str, Turn | None] = {}

    def __call__(self, session: Session, state: State) -> dict[str, Any] | None:
        before = self._before.setdefault(session.id, state.last)
        if state.last is not None and _is_after(state.last, before):
            mates = [turn for turn in state.turns if turn.ended == state.last.ended]
            turns = mates or [state.last]
            return answer(session, state, verdict(turns), state.last.state, turns)
        return _stuck(session, state)


def _is_after(turn: Turn, before: Turn | None) -> bool:
    """A turn that is told to have ended at another time than before is no other turn."""
    if before is None:
        return True
    same = (turn.began, turn.prompt) == (before.began, before.prompt)
    return not same and (turn.ended or 0.0) >= (before.ended or 0.0)


class GoalOver:
    """The end of a goal's pursuit: the word is the status of the goal, once the agent is at rest.

    Raises:
        Unsupported: an agent pursues no goals.
        UsageError: a session has no goal.
    """

    def __init__(self, context: Context, sessions: Sequence[Session]) -> None:
        from .goal import pursuing

        self._backends = {session.id: pursuing(context, session) for session in sessions}
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
            return {**answer(session, state, None, "cleared", ()), "error": "the goal was taken away", "goal": None}
        if goal["status"] != "active":
            limited = _limit(state.last) if goal["status"] == "usageLimited" else {}
            said = {**answer(session, state, None, goal["status"], ()), **limited}
            return {**said, "error": _why(session, state, goal), "goal": goal}
        return self._standing(session, state, goal)

    def _standing(self, session: Session, state: State, goal: dict[str, Any]) -> dict[str, Any] | None:
        """An active goal that nobody pursues: its turn was interrupted or failed, or its server has ended."""
        # Of a turn that was cut nothing follows; between two turns of a goal it takes a moment.
        cut = state.last is not None and state.last.state == INTERRUPTED and state.last.error is not None
        if not cut and time.monotonic() - self._still.setdefault(session.id, time.monotonic()) < _STILL:
            return None
        last = state.last if state.last and state.last.state in (FAILED, INTERRUPTED) else None
        word = last.state if last else INTERRUPTED
        why = f"the goal stands still{_because(last.error if last else None)}; {_go_on(session)}"
        said = {**answer(session, state, None, word, ()), **_ending(last)}
        return {**said, "error": why, "goal": goal}


_WHYS = {
    "paused": "the goal is paused",
    "blocked": "the agent cannot go on with the goal",
    "usageLimited": "the account has reached a limit",
    "budgetLimited": "the budget is spent; give it more: dev-sessions goal {id} --budget N",
}


def _limit(last: Turn | None) -> dict[str, Any]:
    """Of a goal that a limit has stopped; when that resets, the turn says that ran into it."""
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
    return f"go on with: dev-sessions goal {session.id} --resume"


def _stuck(session: Session, state: State) -> dict[str, Any] | None:
    """What ends any wait: the agent is gone, or asks."""
    if state.status not in (EXITED, WAITING):
        return None
    turn = next((turn for turn in state.turns if turn.number == state.turn and turn.open), None)
    return answer(session, state, turn, state.status, (turn,) if turn else ())


def _only(session: Session, state: State, number: int) -> tuple[Turn, ...]:
    found = tuple(turn for turn in state.turns if turn.number == number)
    if not found:
        raise UsageError(f"{session.id} has no turn {number}", next=f"dev-sessions status {session.id} --json")
    return found


def answer(session: Session, state: State, turn: Turn | None, word: str, turns: Sequence[Turn]) -> dict[str, Any]:
    """An outcome as `wait --json` prints it. A turn of no message of ours has no number."""
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
