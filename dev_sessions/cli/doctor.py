"""The command doctor."""

from __future__ import annotations

from .. import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .output import Output


def doctor(out: Output) -> int:
    """Check this machine; exit 1 if there is a problem.

    It checks tmux, the agents and their logins, skills, the state folder and the disk, and gives a remedy for each
    problem. It changes nothing.
    """
    from .. import app
    from ..doctor import examine

    found = examine(*config.surroundings(), lambda: app.client().list())
    lines = [
        f"{one.level:<8} {one.check}: {one.text}" + (f"\n         remedy: {one.remedy}" if one.remedy else "")
        for one in found
    ]
    problems = sum(one.level == "problem" for one in found)
    out.result({"findings": [one._asdict() for one in found], "problems": problems}, "\n".join(lines))
    return 1 if problems else 0
