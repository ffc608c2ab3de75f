"""Text of agents and of projects made safe: no control sequences for the terminal, and YAML of strings only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Whole control sequences, in their forms of 7 and of 8 bits: CSI, then OSC, then other strings, then the short ones.
_SEQUENCES = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x80-\x9f]*(?:\x1b\\|\x9c)"
    r"|\x1b[@-Z\\-_]"
)
# Control characters, and those that change the direction of text (Unicode's Bidi_Control).
_CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"

_LONGEST, _DEEPEST = 20_000, 10  # characters and levels of YAML


def stripped(text: str) -> str:
    """`text` without control sequences, directional controls, and control characters except line feeds and tabs."""
    if text.isascii() and text.isprintable():
        return text
    import re  # few commands need it

    return re.sub(f"{_SEQUENCES}|{_CONTROLS}", "", text)


def escaped(json: str) -> str:
    r"""The same JSON with `\uXXXX` for each of these characters."""
    if json.isascii() and "\x7f" not in json:
        return json
    import re

    return re.sub(_CONTROLS, lambda found: f"\\u{ord(found[0]):04x}", json)


class NotPlain(Exception):
    """The text is not YAML, or more than lists and mappings of strings.

    Attributes:
        line: the number of the line, from 1; 0 if it is not known.
        why: the reason.
    """

    def __init__(self, line: int, why: str) -> None:
        super().__init__(line, why)
        self.line, self.why = line, why


def plain_yaml(text: str) -> Any:
    """The strings, lists and mappings in YAML, with every scalar as a string; None for an empty text.

    Raises:
        NotPlain: it is not YAML, has aliases, is longer than 20,000 characters, or nested more than 10 levels deep.
    """
    import yaml  # slow to import, and few commands need it

    if len(text) > _LONGEST:
        raise NotPlain(0, f"longer than {_LONGEST} characters")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.BaseLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _DEEPEST:
                why = f"nested more than {_DEEPEST} levels deep" if depth > _DEEPEST else "aliases are not allowed"
                raise NotPlain(event.start_mark.line + 1 if event.start_mark else 0, why)
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or " ".join(str(error).split())
        raise NotPlain(mark.line + 1 if mark else 0, f"not YAML: {why}") from error
