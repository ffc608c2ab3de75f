"""The directives in a prompt, and ids and times in Codex's form."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from typing import NamedTuple

VERBS = "ask bash bash_bg deaf delay die error hold late reply replytool stream tool unreachable"
_ARGUMENT = r"(?>\[\[(?:(?!\[\[|\]\]).)*\]\]|.)*?"
_DIRECTIVE = re.compile(rf"\[\[({'|'.join(VERBS.split())})(?::({_ARGUMENT}))?\]\](?![\]}}])", re.DOTALL)
# The words with which the backend points at a file that holds the message.
_POINTER = re.compile(r"\[dev-sessions\] Your message is in the file (/.*?) - read all of it")


class Step(NamedTuple):
    """One directive."""

    verb: str
    argument: str


def steps(text: str) -> list[Step]:
    """The steps of a prompt."""
    pointer = _POINTER.match(text)
    if pointer:
        with open(pointer[1], encoding="utf-8", newline="") as file:
            text = file.read()
    found = [Step(verb, argument.strip().replace("\\n", "\n")) for verb, argument in _DIRECTIVE.findall(text)]
    return found or [Step("reply", text)]


def new_id() -> str:
    """An id whose beginning grows with time, as Codex's do."""
    digits = f"{time.time_ns() // 1_000_000:012x}7{os.urandom(10).hex()[:19]}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def now_ms() -> int:
    return time.time_ns() // 1_000_000
