"""`create`, `send` and `kill` with the real Claude Code in real tmux, compared with the program alone."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from figures import Figure, ratio
from lab import Lab
from measuring import Commands, Cost, Failed, counted, spread, until
from place import Place

from dev_sessions.backends.claude import dialogs
from dev_sessions.terminal.screen import Screen
from dev_sessions.terminal.tmux import HEIGHT, WIDTH, Tmux


def lives(place: Place) -> Iterator[Figure]:
    """`create` and `kill`, alternating with a manual start and end of the same program."""
    with Lab(place.claude, "bench") as lab:
        commands = Commands(lab.env)
        os.chdir(lab.project)
        bare = Bare(lab, lab.folder(lab.create()))  # Claude's very first run does more than later ones
        lives = [_life(commands, bare, f"bench-{number}") for number in range(place.few + place.first)]
    found = counted(lives)
    created, ready = (
        spread(walls) for walls in ([one.created.wall for one in found], [one.bare.ready for one in found])
    )
    beyond = spread([life.created.wall - life.bare.ready for life in found])
    yield Figure(
        *("create", "`create`, beyond the bare program's own time to be ready", "s"),
        *(beyond.median, beyond.p20, 0.3),
        ancestor="15.4 s in all",
        note=f"`create` {created.median:.2f} s, the bare program ready after {ready.median:.2f} s",
    )
    killed, ended = spread([life.killed for life in found]), spread([life.bare.ended for life in found])
    yield ratio(
        *("kill", "`kill`, beyond the bare program's own end", 8.0),
        *(spread([life.killed.less(life.bare.ended) for life in found]), spread([life.floor for life in found])),
        note=f"in all {killed.median * 1e3:.0f} ms, of it the agent {ended.median * 1e3:.0f} ms",
    )


class Bared(NamedTuple):
    """Times of the program alone, in seconds: until it was ready, and from SIGTERM to its end."""

    ready: float
    ended: float


class _Life(NamedTuple):
    """The costs of starting and ending one session, and then the program alone."""

    floor: Cost
    created: Cost
    killed: Cost
    bare: Bared


def _life(commands: Commands, bare: Bare, id: str) -> _Life:
    floor, created = commands.floor(), commands.once("create", "-q", "--id", id)
    commands.checked("status", id, says="idle")
    return _Life(floor, created, commands.once("kill", id), bare.live())


def send(place: Place) -> Iterator[Figure]:
    with Lab(place.claude, "bench") as lab:
        commands = Commands(lab.env)
        os.chdir(lab.project)
        id = lab.create()
        whole, own, agents, floor = [], [], [], []
        for number in range(1, place.few * 2 + place.first + 1):
            floor.append(commands.floor())
            cost, share = _sent(commands, lab, id, number)
            whole.append(cost)
            agents.append(share)
            own.append(cost.less(share))
    share = spread(counted(agents)).median
    note = f"in all {spread(counted(whole)).median * 1e3:.0f} ms, of it Enter to receipt {share * 1e3:.0f} ms"
    yield ratio(
        *("send", "`send`, but for Enter to the agent's receipt", 8.0, spread(counted(own)), spread(counted(floor))),
        ancestor="471 ms in all",
        note=note,
    )


def _sent(commands: Commands, lab: Lab, id: str, number: int) -> tuple[Cost, float]:
    """The cost of one `send`, and how many seconds of it the agent took from Enter to its receipt."""
    before = _reports(lab, id)
    cost = commands.once("send", id, f"Step {number}. [[reply: step {number} is done]]")
    prompts = [path for path in _reports(lab, id) - before if b'"UserPromptSubmit"' in path.read_bytes()]
    if len(prompts) != 1:
        raise Failed(f"send {number}: {len(prompts)} prompts reported")
    attempt = json.loads((lab.folder(id) / "messages" / f"{number:04d}" / "attempt.json").read_text())
    commands.checked("wait", id, says="completed")
    return cost, prompts[0].stat().st_mtime - attempt["at"]


def _reports(lab: Lab, id: str) -> set[Path]:
    return set((lab.folder(id) / "facts").glob("*.json"))


class Bare:
    """The same Claude as `create` starts, with the same settings and environment, but started by tmux without us."""

    def __init__(self, lab: Lab, model: Path) -> None:
        self._lab, self._model = lab, model
        self._tmux = Tmux(lab.env)

    def live(self) -> Bared:
        """Start it, wait until it is ready, and end it."""
        begin = time.perf_counter()
        name, folder = self._start()
        with Screen(self._tmux, name) as screen:
            while dialogs.input_box(screen.capture()) is None or not self._idle(folder):
                if time.perf_counter() - begin > 60:
                    raise Failed(f"the bare claude is not ready: {screen.capture()}")
                select.select([screen.descriptor], [], [], 0.02)
                screen.drain()
            ready = time.perf_counter() - begin
        begin = time.perf_counter()
        self._end(folder)
        return Bared(ready, time.perf_counter() - begin)

    def crowd(self, size: int) -> float:
        """Start `size` of them at once; return the seconds until the last one is idle, and end them."""
        begin = time.perf_counter()
        folders = [self._start()[1] for _ in range(size)]
        until(lambda: all(self._idle(folder) for folder in folders), "the bare claudes to be idle", 120.0, 0.01)
        ready = time.perf_counter() - begin
        for folder in folders:
            self._end(folder)
        return ready

    def _start(self) -> tuple[str, Path]:
        """Start it; return the name of its tmux session, and its folder."""
        name = f"bare-{uuid.uuid4().hex[:8]}"
        folder = self._lab.path / name
        script = self._copy(folder)
        clean = 'exec env -i TERM="$TERM" TMUX="$TMUX" TMUX_PANE="$TMUX_PANE" /bin/sh "$0"'
        size = ("-x", str(WIDTH), "-y", str(HEIGHT))
        self._tmux.run("new-session", "-d", "-s", name, *size, "/bin/sh", "-c", clean, str(script))
        return name, folder

    def _end(self, folder: Path) -> None:
        pid = int((folder / "process").read_text().splitlines()[0])
        handle = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        select.select([handle], [], [], 20.0)
        os.close(handle)

    def _copy(self, folder: Path) -> Path:
        """Copy the start script and the settings of one of our sessions."""
        for part in ("facts", "agent", "messages"):
            (folder / part).mkdir(parents=True)
        old = json.loads((self._model / "record.json").read_text())
        for name in ("settings.json", "start.sh"):
            text = (self._model / "agent" / name).read_text()
            text = text.replace(str(self._model), str(folder)).replace(old["key"], folder.name)
            (folder / "agent" / name).write_text(text.replace(old["backend"]["uuid"], str(uuid.uuid4())))
        return folder / "agent" / "start.sh"

    def _idle(self, folder: Path) -> bool:
        """True if Claude's own status file shows that it is idle."""
        try:
            pid = (folder / "process").read_text().splitlines()[0]
            status = json.loads((self._lab.home / ".claude" / "sessions" / f"{pid}.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(status.get("status") == "idle")
