"""Makes an answer to a question from the parameters of `respond`. Pure."""

from __future__ import annotations

import re

from ..backends.base import Answer
from ..errors import UsageError
from ..model import ways

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..model import Part, Question

_WAYS = ("allow", "always", "deny", "choose", "text", "answers")
_PART = re.compile(r"(\d+)\.(.+)", re.DOTALL)


def answer(id: str, question: Question, params: dict[str, Any]) -> Answer:
    """The answer to `question` of the session `id` in the parameters of `respond`.

    Raises:
        UsageError: there is none, or one that the question does not offer.
    """
    ways = [way for way in _WAYS if params.get(way) not in (None, False, [])]
    if len(ways) != 1:
        raise _wrong(id, question, "give one answer" if not ways else f"give one answer, not {len(ways)}")
    way, why = ways[0], str(params.get("why") or "")
    if why and way != "deny":
        raise _wrong(id, question, "only a denial can have a reason")
    if question.kind == "dialog":
        raise _wrong(id, question, "this is a dialog of the agent's program")
    if way == "deny":
        return Answer("deny", why)
    if question.kind == "question":
        return Answer("answer", answers=_answers(id, question, way, params[way]))
    if way == "choose":
        chosen = params["choose"]
        way = _chosen(id, question, question.options, str(chosen[0])) if len(chosen) == 1 else ""
        if way == "deny":
            return Answer("deny")
    if way not in question.options:
        raise _wrong(id, question, "this question does not have that answer")
    return Answer(way)


def summary(given: Answer) -> Any:
    """An answer, for people and for JSON."""
    return [[*one] for one in given.answers] if given.decision == "answer" else given.decision


def _answers(id: str, question: Question, way: str, value: Any) -> tuple[tuple[str, ...], ...]:
    parts = question.parts
    given: list[tuple[str, ...]] = [()] * len(parts)
    if way == "text":
        if len(parts) != 1:
            raise _wrong(id, question, f"there are {len(parts)} questions in one")
        given[0] = (_text(id, question, value),)
    elif way == "choose":
        for word in value:
            number, chosen = _in_part(id, question, str(word))
            given[number] = (*given[number], _chosen(id, question, parts[number].options, chosen))
    elif way == "answers":
        given = _listed(id, question, value)
    else:
        raise _wrong(
            id, question, f"the question is not a request for permission, so it cannot be answered with --{way}"
        )
    for number, (part, one) in enumerate(zip(parts, given, strict=True), 1):
        if not one:
            raise _wrong(id, question, f"question {number} of {len(parts)} ({part.text}) has no answer")
        if len(one) > 1 and not part.multiple:
            raise _wrong(id, question, f"question {number} ({part.text}) takes one answer, not {len(one)}")
    return tuple(given)


def _in_part(id: str, question: Question, word: str) -> tuple[int, str]:
    """The index of the question that a choice is for, and the choice."""
    if len(question.parts) == 1 and word.casefold() in [one.casefold() for one in question.parts[0].options]:
        return 0, word
    found = _PART.fullmatch(word)
    if found and 1 <= int(found[1]) <= len(question.parts):
        return int(found[1]) - 1, found[2]
    if len(question.parts) == 1:
        return 0, word
    raise _wrong(id, question, f"{word!r} does not name one of the {len(question.parts)} questions")


def _chosen(id: str, question: Question, options: tuple[str, ...], word: str) -> str:
    """The option with that number or label."""
    labelled = [one for one in options if one.casefold() == word.casefold()]
    numbered = [options[int(word) - 1]] if word.isdecimal() and 1 <= int(word) <= len(options) else []
    found = {*labelled, *numbered}
    if len(found) > 1:
        raise _wrong(id, question, f"{word!r} is the number of one option and the name of another")
    if not found:
        raise _wrong(id, question, f"there is no option {word!r}")
    return found.pop()


def _listed(id: str, question: Question, value: Any) -> list[tuple[str, ...]]:
    """Answers to all parts: a list in their order, or an object by their text. Several choices are a list."""
    parts = question.parts
    if isinstance(value, dict):
        unknown = value.keys() - {part.text for part in parts}
        if unknown:
            raise _wrong(id, question, f"unknown question {sorted(unknown)[0]!r}")
        value = [value.get(part.text, []) for part in parts]
    if not isinstance(value, list) or len(value) != len(parts):
        raise _wrong(
            id, question, f"the answers must be a JSON list of {len(parts)}, or a JSON object with a key per question"
        )
    listed = [one if isinstance(one, list) else [one] for one in value]
    return [
        tuple(_option_or_text(part, _text(id, question, item)) for item in one)
        for part, one in zip(parts, listed, strict=True)
    ]


def _option_or_text(part: Part, word: str) -> str:
    return next((one for one in part.options if one.casefold() == word.casefold()), word)


def _text(id: str, question: Question, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(id, question, "an answer must be a text that is not empty")
    return value


def _wrong(id: str, question: Question, why: str) -> UsageError:
    return UsageError(
        f"{why}; nothing was sent. {id} asks ({question.kind}): {question.text}",
        next=ways(id, question.to_json()),
        question=question.to_json(),
    )
