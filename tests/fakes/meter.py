"""Counts in its own process what a command opens, reads and receives: the same on a busy machine.

    python tests/fakes/meter.py COUNTS ARGS...

runs `dev-sessions ARGS` and writes {"opens", "connections", "frames", "bytes"} to the file COUNTS.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from types import FrameType
from typing import Any

_FRAMES = os.path.join("codex", "protocol.py"), "parse"
counted: Counter[str] = Counter()


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        counted["opens"] += 1
    elif event == "socket.connect":
        counted["connections"] += 1


def _profile(frame: FrameType, event: str, _: object) -> None:
    if event == "call" and frame.f_code.co_name == _FRAMES[1] and frame.f_code.co_filename.endswith(_FRAMES[0]):
        counted["frames"] += 1


def _read() -> int:
    """Bytes read from files so far."""
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


def main() -> int:
    from dev_sessions.cli import run

    path, *argv = sys.argv[1:]
    before = _read()
    sys.addaudithook(_audit)
    sys.setprofile(_profile)
    code = run(argv)
    sys.setprofile(None)
    found = dict.fromkeys(("opens", "connections", "frames"), 0) | dict(counted)
    with open(path, "w") as file:
        json.dump({**found, "bytes": _read() - before}, file)
    return code


if __name__ == "__main__":
    sys.exit(main())
