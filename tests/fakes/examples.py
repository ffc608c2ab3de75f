"""The shell examples in all documents, and the lines of them that no test runs."""

from __future__ import annotations

import re

from lab import ROOT

DOCUMENTS = ("*.md", "docs/*.md", "skills/**/*.md", "templates/*.md")

# Each with the reason, and where the same is run instead.
NOT_RUN = {
    "make demo": "fetches the agents; tests/live/test_demo.py runs what it runs",
    "make demo REAL=1": "needs accounts",
    "make test": "is what runs this",
    'make bench ARGS="--only status"': "a measurement, which no test asserts on",
    "make bench ARGS=--page": "takes ten minutes, and writes into the checkout",
    'make bench ARGS="--codex --page"': "takes minutes, and writes into the checkout",
    "make bench": "takes ten minutes",
    "pipx install .": "installs from a package index; scripts/check_package.py runs it",
    "uv tool install .": "installs from a package index; scripts/check_package.py runs it",
    "pip install .": "installs from a package index; scripts/check_package.py does it with the wheel",
    "pipx install dev-sessions": "asks a package index; scripts/check_package.py does it with the checkout",
}


def documents() -> dict[str, str]:
    """The text of each document, by its path in the checkout."""
    paths = sorted({path for pattern in DOCUMENTS for path in ROOT.glob(pattern)})
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a document, each with its language."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def examples() -> dict[str, str]:
    """Every shell example, with its own name; one that is in several documents is here once."""
    found: dict[str, str] = {}
    for path, text in documents().items():
        for number, (language, block) in enumerate(blocks(text), start=1):
            if language in ("sh", "bash", "shell", "console") and block not in found.values():
                found[f"{path.removesuffix('.md').removesuffix('/SKILL')}-{number}"] = block
    return found


def command(line: str) -> str:
    """A line of an example without its remark."""
    return line.partition(" #")[0].rstrip()
