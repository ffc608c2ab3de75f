"""`wait`: the time until it is armed, from the agent's report until it ends, and the cost of waiting (Linux)."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from figures import Figure, milliseconds, ratio
from folders import MadeSession, StateFolder
from measuring import (
    Commands,
    Cost,
    end,
    ended,
    in_turns,
    is_armed,
    most_memory,
    processor_seconds,
    spread,
    until,
)
from place import Place


def armed(place: Place) -> Iterator[Figure]:
    with place.state() as state:
        busy, rested = state.add(2, turns=3)
        state.add(18, turns=3)
        busy.begin()
        commands = Commands(state.env)
        commands.checked("wait", rested.id, says="completed")
        found = in_turns(
            place.rounds,
            floor=commands.floor,
            armed=lambda: arm_time(commands, busy.id),
            ended=lambda: commands.once("wait", rested.id),
        )
    yield ratio("wait-armed", "`wait` until it is armed", 3.5, found["armed"], found["floor"])
    yield ratio("wait-ended", "`wait` for a turn that has ended", 3.5, found["ended"], found["floor"])


def arm_time(commands: Commands, id: str) -> Cost:
    begin = time.perf_counter()
    pid = commands.start("wait", id)
    until(lambda: is_armed(pid), "the wait is armed")
    took = Cost(time.perf_counter() - begin, processor_seconds(pid))
    end(pid)
    return took


def woken(place: Place) -> Iterator[Figure]:
    """From the agent's report that it is idle, after that of a turn's end, until the waiting process ends."""
    with place.state() as state:
        session = state.add(1, turns=3)[0]
        commands = Commands(state.env)
        session.begin()

        def finish() -> tuple[float, Callable[[], None]]:
            report, begin = session.finish()
            return begin, lambda: session.go_on(report)

        times, floor = _gone_after(finish, commands, session, place.rounds, code=0)
    what = "a turn's end reported and the agent idle, to `wait` gone"
    yield milliseconds("fact-to-wait-gone", what, 15.0, spread(times), ancestor="1.57 s", note=_beside(floor))


def died(place: Place) -> Iterator[Figure]:
    """From the death of the agent's process until the waiting process ends."""
    with place.state() as state:
        session = state.add(1, turns=3)[0]
        commands = Commands(state.env)
        session.begin()

        def die() -> tuple[float, Callable[[], None]]:
            session.agent.send_signal(signal.SIGKILL)
            return time.perf_counter(), lambda: _revive(session)

        times, floor = _gone_after(die, commands, session, place.fewer, code=5)
    what = "the agent killed, to `wait` gone"
    yield milliseconds("death-to-wait-gone", what, 50.0, spread(times), note=_beside(floor))


def _gone_after(
    cause: Callable[[], tuple[float, Callable[[], None]]],
    commands: Commands,
    session: MadeSession,
    rounds: int,
    code: int,
) -> tuple[list[float], list[Cost]]:
    """How long an armed `wait` continues to run after each `cause`, and the cost of `python -c pass` at the same time.

    `cause` ends the turn; it returns the time, and a function that restores the session.
    """
    times, floor = [], []
    for _ in range(rounds):
        floor.append(commands.floor())
        pid = _armed_wait(commands, session)
        begin, mend = cause()
        exit_code = ended(pid)
        times.append(time.perf_counter() - begin)
        assert exit_code == code
        mend()
    return times, floor


def _beside(floor: list[Cost]) -> str:
    """The state of the machine during the measurement, for a target in milliseconds."""
    return f"`python -c pass` took {spread(floor).median * 1e3:.0f} ms then"


def _revive(session: MadeSession) -> None:
    session.agent.wait()
    session.agent = subprocess.Popen(["sleep", "86400"], stdin=subprocess.DEVNULL)
    session.be_born()
    session.say("busy", time.time())


def _armed_wait(commands: Commands, session: MadeSession) -> int:
    pid = commands.start("wait", session.id)
    until(lambda: is_armed(pid), "the wait is armed", pause=0.005)
    return pid


def idle(place: Place) -> Iterator[Figure]:
    """Three at once, each on a separate session."""
    seconds = place.size(60, 1)
    with place.state() as state:
        used = idle_cost(place, state, [[session] for session in busy(state, 3)], seconds)
    note = f"three of them, over {seconds} s"
    yield milliseconds(
        "idle-wait", "processor time of a waiting `wait`, a minute", 15.0, spread(used), ancestor="600 ms", note=note
    )


def of_1000(place: Place) -> Iterator[Figure]:
    count, seconds = place.size(1000, 10), place.size(60, 1)
    with place.state() as state:
        (used,) = idle_cost(place, state, [busy(state, count)], seconds)
    percent = used / 60 * 100
    what = "one `wait` of 1,000 ids, waiting: of one core"
    yield Figure("wait-1000", what, "%", percent, percent, 2.0, note=f"over {seconds} s in which nothing happens")


def busy(state: StateFolder, count: int) -> list[MadeSession]:
    sessions = state.add(count, turns=3)
    for session in sessions:
        session.begin()
    return sessions


def idle_cost(place: Place, state: StateFolder, groups: list[list[MadeSession]], seconds: float) -> list[float]:
    """Seconds of processor time that a `wait` on each group uses in a minute without any event."""
    commands = Commands(state.env)
    pids = [commands.start("wait", *[session.id for session in group]) for group in groups]
    try:
        until(lambda: all(is_armed(pid) for pid in pids), "the waits are armed", pause=0.02)
        time.sleep(place.size(10, 0))  # in its first seconds, a `wait` also checks what may have just ended
        before, begin = [processor_seconds(pid) for pid in pids], time.monotonic()
        time.sleep(seconds)
        minutes = (time.monotonic() - begin) / 60
        return [(processor_seconds(pid) - used) / minutes for pid, used in zip(pids, before, strict=True)]
    finally:
        for pid in pids:
            end(pid)


def of_200(place: Place) -> Iterator[Figure]:
    with place.state() as state:
        sessions = busy(state, place.size(200, 10))
        commands = Commands(state.env)
        begin = time.perf_counter()
        pid = commands.start("wait", *[session.id for session in sessions])
        try:
            until(lambda: is_armed(pid), "the wait is armed")
            took = time.perf_counter() - begin
            time.sleep(place.size(3, 1))  # some clock ticks
            held = most_memory(pid)
        finally:
            end(pid)
    yield Figure("wait-200", "one `wait` of 200 ids", "MB", held, held, 40.0, note=f"armed after {took * 1e3:.0f} ms")
