"""The command line of the fake, as far as it is used."""

from __future__ import annotations

import os
import sys

from . import VERSION
from .server import InUse, Server


def main(argv: list[str]) -> int:
    if argv == ["--version"]:
        print(f"codex-cli {VERSION}")
        return 0
    if len(argv) != 3 or argv[:2] != ["app-server", "--listen"] or not argv[2].startswith("unix://"):
        print(f"error: unexpected argument '{' '.join(argv)}' found", file=sys.stderr)
        return 2
    verb, _, words = os.environ.get("FAKE_START", "").partition(": ")
    if verb == "die":
        print(f"Error: {words}", file=sys.stderr)
        return 1
    home = os.environ.get("CODEX_HOME") or os.path.expanduser("~/.codex")
    path = argv[2].removeprefix("unix://") or os.path.join(home, "app-server-control", "app-server-control.sock")
    try:
        Server(home, path, verb).live()
    except InUse:
        print(f"Error: app-server control socket is already in use at {path}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
