"""A send started as soon as `create` returns is delivered, completely and once, every time, on a machine under load.

The load comes from the tests that run at the same time; `make soak`, a long run, adds processes for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from lab import Lab
from soak import size

RUNS = size(1, 100)
BURNERS = size(0, 2)


@pytest.fixture
def load() -> Iterator[None]:
    """Processes that use as much as they can of two processors."""
    processors = sorted(os.sched_getaffinity(0))
    burners = []
    for number in range(BURNERS):
        pinned = f"import os; os.sched_setaffinity(0, [{processors[number % len(processors)]}])\nwhile True: pass"
        burners.append(subprocess.Popen([sys.executable, "-c", pinned]))
    yield
    for burner in burners:
        assert burner.poll() is None, "the load was not there all the time"
        burner.kill()
        burner.wait()


@pytest.mark.soak
@pytest.mark.timeout(60 + 60 * RUNS)
def test_send_right_after_create_is_delivered(lab: Lab, load: None) -> None:
    """Each run uses one shell, so that nothing of ours runs between the two commands."""
    command = " ".join(lab.argv())
    script = f'id=$({command} create -q --id "$1") && {command} send --json "$id" "$2"'
    failed: list[object] = []
    for run in range(RUNS):
        id, text = f"run-{run}", f'run {run}: it\'s "the" first word\n[[reply: heard {run}]]'
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", id, text], env=lab.env, cwd=lab.project, capture_output=True, text=True
        )
        if done.returncode != 0:
            failed.append((run, done.returncode, done.stdout, done.stderr))
        else:
            receipt = json.loads(done.stdout)
            assert (receipt["turn"], receipt["receipt"], receipt["via"]) == (1, "started", "terminal")
            waited, said = lab.run("wait", id), lab.ok("last-message", id)
            prompts = lab.until(lambda id=id: lab.prompts(id), "the transcript")
            if (waited.out, said, prompts) != ("completed\n", f"heard {run}", [text]):
                failed.append((run, waited, said, prompts))
        if id in lab.ok("list"):
            lab.ok("kill", id)
    assert failed == [], f"{len(failed)} of {RUNS}"
    assert lab.processes() == []
