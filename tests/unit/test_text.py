"""Text of others: made safe for a terminal, and as YAML."""

from __future__ import annotations

import json

import pytest

from dev_sessions.text import NotPlain, escaped, plain_yaml, stripped


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain\n\ttext é 漢 😀", "plain\n\ttext é 漢 😀"),
        ("\x1b[31mred\x1b[0m \x9b1;32mgreen\x9bm", "red green"),
        ("\x1b]0;a\x07b\x1b]0;c\x1b\\d\x9d0;e\x9cf\x9d0;g\x07h", "bdfh"),
        ("\x1bPq#0\x1b\\a\x90q\x9cb\x1b_x\x1b\\c\x9ey\x9cd", "abcd"),
        ("\x1bca\x1b7b\x1b\x1b[0m[31mc", "ca7b[31mc"),
        ("a\rb\x00c\x7fd\x85e\x0cf\x0bg", "abcdefg"),
        ("a\u202eb\u2066c\u2069d\u200fe\u061cf", "abcdef"),
        ("\x1b]0;never ended\nb", "0;never ended\nb"),
    ],
)
def test_stripped(text: str, left: str) -> None:
    assert stripped(text) == left
    assert stripped(left) == left


@pytest.mark.parametrize("piece", ["\x1b]", "\x9d", "\x1b[1", "\x9b", "\x90", "\x1b", "\x1bP;"])
def test_a_long_text_of_beginnings_takes_no_longer_than_another(piece: str) -> None:
    assert "\x1b" not in stripped(piece * 200_000)


def test_escaped_json_means_the_same() -> None:
    value = {"a": "".join(map(chr, range(0x2100))), "\x9b\u202e": ["é\n"]}
    written = escaped(json.dumps(value, ensure_ascii=False))
    assert json.loads(written) == value
    assert not {"\x1b", "\x7f", "\x9b", "\x85", "\u202e", "\u2066"} & {*written}
    assert "é" in written


def test_yaml_holds_strings() -> None:
    text = "a: 1\nb: yes\nc: 2001-01-01\nd:\ne: [x, {f: null}]\n"
    assert plain_yaml(text) == {"a": "1", "b": "yes", "c": "2001-01-01", "d": "", "e": ["x", {"f": "null"}]}
    assert plain_yaml("") is None


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: 1\nb: &x [y]\nc: [*x, *x]\n", 3, "aliases"),
        ("a: &x\n  <<: *x\n", 2, "aliases"),
        ("a:\n  " + "[" * 5000, 2, "10 levels"),
        ("- " * 5000, 1, "10 levels"),
        ("a: b\n" * 4001, 0, "longer than 20000 characters"),
        ("a: [\n", 2, "not YAML"),
        ("? [a]\n: b\n", 1, "not YAML"),
        ("a\n--- b\n", 2, "not YAML"),
        ("a: \x00", 0, "not YAML"),
    ],
)
def test_an_error_in_yaml_names_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(NotPlain) as caught:
        plain_yaml(text)
    assert (caught.value.line, why in caught.value.why) == (line, True), caught.value
