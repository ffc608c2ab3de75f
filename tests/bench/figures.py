"""The measured values and their targets: as lines for a person, as JSON, and as the tables of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from measuring import Spread


class Figure(NamedTuple):
    """One measured value.

    Attributes:
        name: a short unique name, by which it can be selected.
        what: what is measured, as the page describes it.
        unit: of `value`, `p20` and `reach`: "ratio" (to `python -c pass`), "ms", "s", "MB" or "%".
        value: the median (or the one measured value).
        p20: the lowest fifth.
        reach: the target, the highest accepted `value`; None: shown without a target.
        wall: if it is a ratio, the median of the measured times in milliseconds.
        cpu: the ratio of the processor times, which other programs affect less.
        ancestor: the same value for the TypeScript tool of the same name (0.4.4), in words.
        note: what a reader must know.
    """

    name: str
    what: str
    unit: str
    value: float
    p20: float
    reach: float | None
    wall: float | None = None
    cpu: float | None = None
    ancestor: str = ""
    note: str = ""

    @property
    def missed(self) -> bool:
        return self.reach is not None and self.value > self.reach

    def shown(self, judged: bool = True) -> str:
        """One line for a person; with `judged`, compared with its target."""
        wall = f" ({self.wall:.0f} ms)" if self.wall is not None else ""
        values = f"{amount(self.value, self.unit)}{wall}, p20 {amount(self.p20, self.unit)}"
        values += f", cpu {amount(self.cpu, self.unit)}" if self.cpu is not None else ""
        judged = judged and self.reach is not None
        reach = f"reach {amount(self.reach, self.unit)}" if self.reach is not None and judged else ""
        verdict = ("MISSED" if self.missed else "ok") if judged else ""
        return f"{self.name:24} {values:44} {reach:16} {verdict:7} {self.note}".rstrip()


class Growth(NamedTuple):
    """How one cost grows: `values` has the cost for each size, which is a number of `by`."""

    name: str
    what: str
    by: str
    unit: str
    values: dict[int, float]

    def shown(self, judged: bool = True) -> str:
        """One line for a person; growth has no target."""
        values = ", ".join(f"{size}: {amount(value, self.unit)}" for size, value in self.values.items())
        return f"{self.name:24} by {self.by}: {values}"


def ratio(name: str, what: str, reach: float | None, of: Spread, floor: Spread, **more: Any) -> Figure:
    """A command's time as a ratio to `python -c pass`: the medians and the lowest fifths."""
    cpu = of.cpu / floor.cpu if of.cpu and floor.cpu else None
    values = (of.median / floor.median, of.p20 / floor.p20, reach, of.median * 1e3, cpu)
    return Figure(name, what, "ratio", *values, **more)


def milliseconds(name: str, what: str, reach: float | None, of: Spread, **more: Any) -> Figure:
    return Figure(name, what, "ms", of.median * 1e3, of.p20 * 1e3, reach, **more)


def amount(value: float, unit: str) -> str:
    """A value with its unit."""
    digits = 2 if unit == "s" or (unit == "ratio" and value < 10) else 1 if value < 10 or unit == "MB" else 0
    return f"{value:.{digits if unit else 0}f}{'x' if unit == 'ratio' else ' ' + unit}".rstrip()


def to_json(figures: Sequence[Figure], growths: Sequence[Growth], machine: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": machine,
        "figures": [{**figure._asdict(), "missed": figure.missed} for figure in figures],
        "growth": [growth._asdict() for growth in growths],
    }


def from_json(value: dict[str, Any]) -> tuple[list[Figure], list[Growth], dict[str, Any]]:
    figures = [Figure(**{name: one[name] for name in Figure._fields}) for one in value["figures"]]
    growths = [
        Growth(**{**one, "values": {int(size): amount for size, amount in one["values"].items()}})
        for one in value["growth"]
    ]
    return figures, growths, value["machine"]
