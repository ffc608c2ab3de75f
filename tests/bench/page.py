"""The parts of `docs/performance.md` that are generated from measurements."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import Figure, Growth, amount
from folders import ROOT

import dev_sessions

CODEX = "codex-"
PAGE = ROOT / "docs" / "performance.md"


def machine(claude: str, codex: str) -> dict[str, Any]:
    """The machine and the versions with which the values were measured."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "dev-sessions": dev_sessions.__version__,
        "tmux": _said("tmux", "-V"),
        "claude": _said(claude, "--version"),
        "codex": _said(codex, "--version"),
        "load": round(os.getloadavg()[0], 1),
        "day": time.strftime("%Y-%m-%d"),
    }


def _said(*argv: str) -> str | None:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def parts(figures: Sequence[Figure], growths: Sequence[Growth], machine: dict[str, Any]) -> dict[str, str]:
    """The parts of the page, by name."""
    return {
        "machine": _machine(machine),
        "reaches": _reaches([figure for figure in figures if not figure.name.startswith(CODEX)]),
        "codex": _of_codex([figure for figure in figures if figure.name.startswith(CODEX)], machine),
        "sessions": _growth([growth for growth in growths if growth.by == "sessions"]),
        "turns": _growth([growth for growth in growths if growth.by == "turns"]),
    }


def _machine(machine: dict[str, Any]) -> str:
    claude = (machine["claude"] or "").partition(" ")[0] or "none"
    return (
        f"Measured on {machine['day']}: {machine['system']}, {machine['cores']} cores, load {machine['load']}; "
        f"CPython {machine['python']}, {machine['tmux']}, Claude Code {claude}, dev-sessions {machine['dev-sessions']}."
    )


def _reaches(figures: Sequence[Figure]) -> str:
    rows = [
        "| what | reach | measured | lowest fifth | processor time | remarks | the TypeScript tool (0.4.4) |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        reach = f"{amount(figure.reach, figure.unit)}" if figure.reach is not None else ""
        wall = f" ({figure.wall:.0f} ms)" if figure.wall is not None else ""
        measured = f"{amount(figure.value, figure.unit)}{wall}"
        measured = f"**{measured}, missed**" if figure.missed else measured
        cpu = amount(figure.cpu, figure.unit) if figure.cpu is not None else ""
        cells = (figure.what, reach, measured, amount(figure.p20, figure.unit), cpu, figure.note, figure.ancestor)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _of_codex(figures: Sequence[Figure], machine: dict[str, Any]) -> str:
    """A separate table with its own machine and versions, because it can be renewed alone."""
    day, load, version = machine["day"], machine["load"], machine.get("codex") or "no codex"
    begin = f"Measured on {day}, load {load}, with {version}."
    rows = [line.rpartition(" |")[0].rpartition(" |")[0] + " |" for line in _reaches(figures).splitlines()]
    rows[1] = "|---" * 6 + "|"
    return "\n".join([begin, "", *rows]) if figures else "(not measured)"


def _growth(growths: Sequence[Growth]) -> str:
    if not growths:
        return "(not measured)"
    sizes = sorted({size for growth in growths for size in growth.values})
    rows = [f"| {growths[0].by} | {' | '.join(f'{size:,}' for size in sizes)} |", "|---" * (len(sizes) + 1) + "|"]
    for growth in growths:
        cells = [amount(growth.values[size], growth.unit) if size in growth.values else "" for size in sizes]
        rows.append(f"| {growth.what} | {' | '.join(cells)} |")
    return "\n".join(rows)


def renew(made: dict[str, str], page: Path = PAGE) -> None:
    """Write the parts into the page, each between its two marks."""
    text = page.read_text()
    for name, part in made.items():
        begin, end = f"<!-- {name}, made by make bench -->", f"<!-- end of {name} -->"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        before, *places = re.split(pattern, text, flags=re.DOTALL)
        if len(places) != 1:
            raise SystemExit(f"{page.name} has no place for {name}: it needs the lines {begin} and {end}")
        text = f"{before}{begin}\n{part}\n{end}{places[0]}"
    page.write_text(text)
