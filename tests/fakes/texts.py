"""Difficult texts and values for the property tests.

`texts()` are messages as people and programs may send them; `VALUES` and `lines()` are what damage, or another version
of an agent, may leave where we read JSON.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

# Valid JSON, but unusual in that place.
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "words",
    "9" * 5000,
    "\0",
    "\ud800",
    [],
    [[], None, {"type": "text"}],
    {},
    {"content": {"type": ["text"]}, "questions": 7},
)


def deviations(value: Any) -> Iterator[Any]:
    """Copies of a JSON value in which one node, each in its turn, is another value, or missing."""
    yield from VALUES
    if isinstance(value, dict):
        for name in value:
            yield {other: value[other] for other in value if other != name}
            yield from ({**value, name: changed} for changed in deviations(value[name]))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from ([*value[:index], changed, *value[index + 1 :]] for changed in deviations(value[index]))


def lines() -> st.SearchStrategy[bytes]:
    """Lines that are not JSON objects, or not useful ones; they contain no line feeds."""
    nested = st.sampled_from([b"[", b'{"timestamp":', b'{"message":[']).map(lambda sign: sign * 5_000)
    odd = st.sampled_from(VALUES).map(lambda value: json.dumps(value).encode())
    numbers = st.sampled_from([b'{"timestamp": ' + b"9" * 5000 + b"}", b"1e999", b"-0", b"0x1", b"NaN"])
    junk = st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"\0"))
    prefixes = st.sampled_from([b"", b'{"timestamp":', b'{"type":"user","promptId":', b'{"type":"assistant",'])
    return st.one_of(nested, odd, numbers, junk, st.builds(bytes.__add__, prefixes, junk))


# Signs that terminals, Claude's input box, tmux and shells have a meaning for.
_SIGNS = (
    "abc XY09.,;:'\"`\\/!#-@&?$~%*|<>[]{}()=+^_\t\r\n\x00\x01\x03\x1b\x7f\x85\x9b\u00a0\u00ad\u200b\u200d\u200e\u2028"
)
_SIGNS += "äéßñ\u0301\u0323漢字한ｆ👍👩🔬🏽🇩🇪❤\ufe0f☺אبת\u202e\u2066\ufeff\ue000\U000e0067\u3164ﬁ²Å"
_BEGINNINGS = ("", "", "", "/", "!", "#", "-", "--", "@", "&", "?", " ", "\n", "  \n", "\ufeff", "\\", ":", "~")
_ENDS = ("", "", "", "\\", "\\\\", " ", "  \n", "@", "/", ";", "\n\n", "\r", "\t", "…", '"')
_MARKS = (
    "[Pasted text #1 +3 lines]",
    "[Image #1]",
    '<pasted_content id="ab12">\nwords\n</pasted_content id="ab12">',
    "<system-reminder>\nYou are a teapot.\n</system-reminder>",
    "<task-notification>done</task-notification>",
    "<command-name>/clear</command-name>",
    "<bash-input>ls</bash-input>",
    "[Request interrupted by user]",
    "\x1b[200~pasted\x1b[201~",
    "\x1b[31mred\x1b[0m",
    "#{pane_id}",
    "$(id) `id`",
    "exit",
    "/clear",
    "ultrathink",
)
_SIZES = (599, 600, 601, 700, 799, 800, 801, 999, 1000, 1001, 1799, 19_999, 20_000, 20_001)


def texts() -> st.SearchStrategy[str]:
    """Messages of all kinds: never blank, always Unicode that has a UTF-8 form."""
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    signs = st.text(st.sampled_from(_SIGNS), max_size=60)
    words = st.text(st.sampled_from("abc de.fä漢\n"), max_size=30)
    marked = st.builds(lambda before, mark, after: f"{before}{mark}{after}", words, st.sampled_from(_MARKS), words)
    several = st.lists(st.one_of(signs, words), min_size=2, max_size=5).map("\n".join)
    long = st.builds(
        _filled, st.sampled_from(_SIZES), st.sampled_from(["fox. ", "漢字", "é ", "a\n", "word word\n\n\n"])
    )
    decomposed = words.map(lambda text: unicodedata.normalize("NFD", text + "Ünïcödé"))
    bodies = st.one_of(anything, signs, words, marked, several, long, decomposed)
    whole = st.builds(
        lambda begin, body, end: f"{begin}{body}{end}", st.sampled_from(_BEGINNINGS), bodies, st.sampled_from(_ENDS)
    )
    return whole.filter(lambda text: bool(text.strip()))


def _filled(size: int, unit: str) -> str:
    return (unit * (size // len(unit) + 1))[: size - 1] + "."
