"""Every example in the skills is run as it stands, and does what the skill says."""

from __future__ import annotations

import re
import subprocess

import pytest
from lab import ROOT, Lab

# A command of these is not in this tree yet; see tests/unit/test_skills.py.
SKILLS = ("dev-sessions", "delegate", "handoff", "fan-out")


@pytest.mark.parametrize("name", SKILLS)
def test_example_of_a_skill_runs_as_it_stands(lab: Lab, name: str) -> None:
    text = (ROOT / "skills/claude" / name / "SKILL.md").read_text()
    (example,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for file in set(re.findall(r"--file (\S+)", example)):
        (lab.project / file).write_text(f"[[reply: read {file}]]")
    done = subprocess.run(
        ["bash", "-euc", example],
        env=lab.env,
        cwd=lab.project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for file in set(re.findall(r"--file (\S+)", example)):
        assert f"read {file}" in done.stdout
    left = lab.run("list", "--json").json
    assert len(left) == (name == "handoff")  # what was handed over goes on; nothing else is left
    for session in left:
        lab.ok("kill", session["id"])
