"""Codex: its real app-server, without a network, with the tests' model server."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial

from codex_exchange import Line
from codex_lab import CodexLab
from figures import Figure, milliseconds, ratio
from measuring import Commands, Failed, counted, ended, in_turns, is_armed, spread, until
from place import Place
from waits import arm_time

from dev_sessions.app import client

_SESSIONS, _TURNS = 10, 20


def lab_of(place: Place) -> CodexLab:
    return CodexLab(os.path.realpath(place.codex), "bench")


def reads(place: Place) -> Iterator[Figure]:
    """Reads that need no server, and reads that ask the server because an agent asks something."""
    with lab_of(place) as lab:
        os.chdir(lab.project)
        commands, ours = Commands(lab.env), client(lab.env)
        ids = [ours.create(cli="codex", path=str(lab.project))["id"] for _ in range(place.size(_SESSIONS, 3))]
        rested, asking, busy = ids[:3]
        turns = place.size(_TURNS, 2)
        for number in range(turns):
            ours.ask(rested, f"Step {number}. [[reply: step {number} is done]]")
        commands.checked("last-message", rested, says=f"step {turns - 1} is done")
        commands.checked("wait", rested, says="completed")
        found = in_turns(
            place.rounds,
            floor=commands.floor,
            list=lambda: commands.once("list"),
            last=lambda: commands.once("last-message", rested),
            status=lambda: commands.once("status", rested),
            ended=lambda: commands.once("wait", rested),
        )
        floor = found["floor"]
        yield ratio("codex-list", f"`list` of {_SESSIONS}", 3.5, found["list"], floor)
        yield ratio("codex-last-message", f"`last-message`, {_TURNS} turns", 3.5, found["last"], floor)
        yield ratio("codex-status", "`status` of a session at rest", 3.5, found["status"], floor)
        yield ratio("codex-wait-ended", "`wait` for a turn that has ended", 3.5, found["ended"], floor)
        ours.send(asking, "[[ask: Which?|this|that]]")
        ours.send(busy, "[[hold: never]]")
        until(lambda: ours.status(asking)["status"] == "waiting_for_input", "it asks")
        found = in_turns(
            place.rounds,
            floor=commands.floor,
            list=lambda: commands.once("list"),
            status=lambda: commands.once("status", asking),
            armed=lambda: arm_time(commands, busy),
        )
        floor = found["floor"]
        yield ratio("codex-list-asking", f"`list` of {_SESSIONS}, one of which asks", 12.0, found["list"], floor)
        yield ratio("codex-status-asking", "`status` of one that asks something", 12.0, found["status"], floor)
        yield ratio("codex-wait-armed", "`wait` until it is armed, for a turn that runs", 12.0, found["armed"], floor)


def sends(place: Place) -> Iterator[Figure]:
    with lab_of(place) as lab:
        os.chdir(lab.project)
        commands, id = Commands(lab.env), lab.create()
        whole, own, servers, floor = [], [], [], []
        for number in range(1, place.fewer + place.first + 1):
            floor.append(commands.floor())
            cost = commands.once("send", id, f"Step {number}. [[reply: step {number} is done]]")
            commands.checked("wait", id, says="completed")
            servers.append(_acknowledged(lab, id, number))
            whole.append(cost)
            own.append(cost.less(servers[-1]))
    share = spread(counted(servers)).median
    note = f"in all {spread(counted(whole)).median * 1e3:.0f} ms, of it the server {share * 1e3:.0f} ms"
    what = "`send`, but for the server's acknowledgement"
    yield ratio("codex-send", what, 12.0, spread(counted(own)), spread(counted(floor)), note=note)


def _acknowledged(lab: CodexLab, id: str, number: int) -> float:
    """Seconds from our attempt until the message was in the rollout."""
    attempt = json.loads((lab.folder(id) / "messages" / f"{number:04d}" / "attempt.json").read_text())
    for line in lab.rollout(id):
        item = line["payload"].get("item") or {}
        if str(item.get("client_id")).endswith(f"/{number}"):
            return float(line["payload"]["completed_at_ms"]) / 1e3 - float(attempt["at"])
    raise Failed(f"send {number}: it is not in the rollout")


def creates(place: Place) -> Iterator[Figure]:
    """`create`: the first session starts the server, the second one finds it."""
    cold, warm, floor = [], [], []
    with lab_of(place) as lab:
        os.chdir(lab.project)
        commands = Commands(lab.env)
        for _ in range(place.few + place.first):
            floor.append(commands.floor())
            cold.append(commands.once("create", "--cli", "codex", "-q"))
            warm.append(commands.once("create", "--cli", "codex", "-q"))
            assert commands.checked("list", "--json").count('"idle"') == 2
            commands.checked("kill", "--all")
            until(lambda: lab.processes() == [], "the server has ended")
    note = f"`python -c pass` took {spread(counted(floor)).median * 1e3:.0f} ms then"
    for name, what, taken, reach in (
        ("codex-create-cold", "`create`, which starts the app-server", cold, 0.5),
        ("codex-create-warm", "`create`, where it runs", warm, 0.3),
    ):
        found = spread(counted(taken))
        yield Figure(name, what, "s", found.median, found.p20, reach, note=note)


def ends(place: Place) -> Iterator[Figure]:
    """The time from the server's `turn/completed` until the waiting process ends."""
    times = []
    with lab_of(place) as lab:
        os.chdir(lab.project)
        commands, id = Commands(lab.env), lab.create()
        with Line(str(lab.codex_home / "app-server-control" / "app-server-control.sock")) as line:
            line.ask("thread/resume", threadId=lab.private(id)["thread"], excludeTurns=True)
            for number in range(place.fewer + place.first):
                commands.checked("send", id, f"[[hold: turn {number}]][[reply: done]]")
                assert lab.model.wait_until_blocked(f"turn {number}")
                times.append(_gone(commands, lab, line, id, number))
    yield milliseconds("codex-wait-gone", "`turn/completed` told, to `wait` gone", 50.0, spread(counted(times)))


def _gone(commands: Commands, lab: CodexLab, line: Line, id: str, number: int) -> float:
    pid, gone = commands.start("wait", id), list[float]()

    def watch() -> None:
        ended(pid)
        gone.append(time.perf_counter())

    until(lambda: is_armed(pid), "the wait is armed")
    watching = threading.Thread(target=watch)
    watching.start()
    since = len(line.told)
    lab.model.release(f"turn {number}")
    line.notice("turn/completed", since)
    told = time.perf_counter()
    watching.join()
    return gone[0] - told


def deaths(place: Place) -> Iterator[Figure]:
    """The time from the signal that kills the app-server until the waiting process ends."""
    times = []
    with lab_of(place) as lab:
        os.chdir(lab.project)
        commands, id = Commands(lab.env), lab.create()
        for number in range(place.few + place.first):
            commands.checked("send", id, f"[[hold: turn {number}]][[reply: never]]")
            assert lab.model.wait_until_blocked(f"turn {number}")
            pid = commands.start("wait", id)
            until(partial(is_armed, pid), "the wait is armed")
            (server,) = lab.servers()
            os.kill(server, signal.SIGKILL)
            begin = time.perf_counter()
            exit_code = ended(pid)
            times.append(time.perf_counter() - begin)
            assert exit_code == 5
    yield milliseconds("codex-death", "the app-server killed in a turn, to `wait` gone", 100.0, spread(counted(times)))
