"""A fan-out of eight with the real Claude Code, compared with eight of the programs alone, started at once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

from agents import Bare
from figures import Figure
from lab import Lab
from measuring import Commands, Failed, spread
from place import Place

_MANY, _SECONDS = 8, 3


def fan_out(place: Place) -> Iterator[Figure]:
    """Alternating: a whole fan-out with turns of three seconds, and eight programs until they show their input box."""
    with Lab(place.claude, "bench") as lab:
        commands = Commands(lab.env)
        os.chdir(lab.project)
        bare = Bare(lab, lab.folder(lab.create()))
        tasks, seconds = [], place.size(_SECONDS, 0)
        for number in range(place.size(_MANY, 1)):
            task = lab.path / f"task{number}.md"
            task.write_text(f"[[delay: {seconds}]][[reply: task {number} is done]]")
            tasks.append(str(task))
        rounds = [_round(lab, commands, bare, tasks) for _ in range(place.few)]
    ratios = spread([whole / (ready + seconds) for whole, ready, _ in rounds])
    wholes, readies = (spread([one[place] for one in rounds]) for place in (0, 1))
    yield Figure(
        *("fan-out-8", "`fan-out` of 8 with turns of 3 s, to 8 bare programs started at once and 3 s", "ratio"),
        *(ratios.median, ratios.p20, 1.5),
        ancestor="135 s in all",
        note=f"`fan-out` {wholes.median:.1f} s in all, the bare programs ready after {readies.median:.1f} s",
    )
    held = spread([one[2] for one in rounds])
    yield Figure("fan-out-8-memory", "`fan-out` of 8: its one process", "MB", held.median, held.p20, 100.0)


def _round(lab: Lab, commands: Commands, bare: Bare, tasks: list[str]) -> tuple[float, float, float]:
    """Seconds of the fan-out, seconds until the last program alone was ready, and MB."""
    begin = time.perf_counter()
    held = commands.memory("fan-out", *tasks, "--max-parallel", str(len(tasks)))
    whole = time.perf_counter() - begin
    run = max((lab.state / "runs").iterdir(), key=lambda path: path.name)
    told = [json.loads(path.read_text()) for path in (run / "branches").glob("*.json")]
    if [one["outcome"] for one in told] != ["completed"] * len(tasks):
        raise Failed(f"not all of the fan-out is done: {told}")
    return whole, bare.crowd(len(tasks)), held
