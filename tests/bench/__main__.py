"""Measure dev-sessions against what it is to reach: `make bench`.

Exit code 1 if a reach is missed, so that a person sees it. No test depends on it: machines differ.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))

import agents
import codex
import figures
import growth
import page
import reads
import recipes
import waits
from figures import Figure, Growth
from folders import ROOT
from measuring import Failed
from place import Place, scratch

import dev_sessions

MEASURES: dict[str, Callable[[Place], Iterator[Figure | Growth]]] = {
    "version": reads.version,
    "list-20": reads.list_20,
    "last-message": reads.last_message,
    "status": reads.status,
    "wait-armed": waits.armed,
    "send": agents.send,
    "create": agents.lives,
    "fact-to-wait-gone": waits.woken,
    "death-to-wait-gone": waits.died,
    "idle-wait": waits.idle,
    "wait-200": waits.of_200,
    "wait-1000": waits.of_1000,
    "hook": reads.hook,
    "list-500": reads.list_500,
    "fan-out-8": recipes.fan_out,
    "codex-list": codex.reads,
    "codex-send": codex.sends,
    "codex-create-cold": codex.creates,
    "codex-wait-gone": codex.ends,
    "codex-death": codex.deaths,
    "growth-sessions": growth.of_sessions,
    "growth-turns": growth.of_turns,
    "growth-sends": growth.of_sends,
}
ALSO = {"last-message-500mb": "last-message", "wait-ended": "wait-armed", "kill": "create"}
_WITH_LIST = ("last-message", "status", "wait-ended", "list-asking", "status-asking", "wait-armed")
ALSO |= dict.fromkeys((f"codex-{name}" for name in _WITH_LIST), "codex-list")
ALSO |= {"fan-out-8-memory": "fan-out-8", "codex-create-warm": "codex-create-cold"}
RESULTS = ROOT / ".tox" / "results" / "bench.json"


def main() -> int:
    options = _options()
    if not sys.platform.startswith("linux"):
        sys.exit("The measurements read /proc: they need Linux.")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that everything started is ended
    if options.results:
        found, grown, machine = figures.from_json(json.loads(Path(options.results).read_text()))
        failed = False
    else:
        found, grown, machine, failed = _measured(options)
        whole = not options.only and not options.quick
        _keep(options.json or (RESULTS if whole else None), found, grown, machine)
    if options.markdown:
        print("\n\n".join(page.parts(found, grown, machine).values()))
    if options.page:
        made = page.parts(found, grown, machine)
        page.renew({"codex": made["codex"]} if options.codex else made)
    missed = [figure.name for figure in found if figure.missed and not options.quick]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed or failed else 0


def _measured(options: argparse.Namespace) -> tuple[list[Figure], list[Growth], dict[str, object], bool]:
    claude, program = (
        os.environ.get(f"DEV_SESSIONS_TEST_{name.upper()}") or str(ROOT / ".agents" / name)
        for name in ("claude", "codex")
    )
    compileall.compile_dir(os.path.dirname(dev_sessions.__file__), quiet=2)  # an editable install may not be compiled
    machine = page.machine(claude, program)
    found: list[Figure | Growth] = []
    failed = False
    with scratch() as folder:
        place = Place(Path(folder), options.rounds, options.quick, claude, program)
        for name in dict.fromkeys(ALSO.get(name, name) for name in options.only or MEASURES):
            os.chdir(folder)
            try:
                for one in MEASURES[name](place):
                    found.append(one)
                    print(one.shown(judged=not options.quick), flush=True)
            except Exception as error:
                failed = True
                print(f"{name:24} FAILED: {error}", flush=True)
                if not isinstance(error, Failed):
                    traceback.print_exc()
        os.chdir(ROOT)
    figures_of = [one for one in found if isinstance(one, Figure)]
    return figures_of, [one for one in found if isinstance(one, Growth)], machine, failed


def _keep(where: str | Path | None, found: list[Figure], grown: list[Growth], machine: dict[str, object]) -> None:
    if where is not None:
        file = Path(where)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures.to_json(found, grown, machine), indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__)
    names = [*MEASURES, *ALSO]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"any of {', '.join(names)}")
    parser.add_argument("--codex", action="store_true", help="all about Codex; with --page, its table alone")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="how often a quick thing is measured")
    parser.add_argument("--quick", action="store_true", help="all once and small, to see that it runs; judges nothing")
    parser.add_argument("--json", metavar="FILE", help=f"where results go; all of them: {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--from", dest="results", metavar="FILE", help="measure nothing, take the results of a run")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/performance.md")
    parser.add_argument("--page", action="store_true", help="renew docs/performance.md")
    options = parser.parse_args()
    if options.codex:
        options.only = [name for name in MEASURES if name.startswith(page.CODEX)]
    elif options.page and not options.results and (options.only or options.quick):
        parser.error("the page is renewed by a whole run, or --from the results of one")
    return options


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
