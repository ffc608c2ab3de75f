"""`pending` and `respond`: their output and their errors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Commands

FIELDS = {"session", "id", "kind", "text", "options", "since", "parts", "agent"}


@pytest.fixture
def asked(run: Commands) -> Iterator[str]:
    """A session that asks which colour."""
    id = run.create()
    run.ok("send", id, "[[ask: Which colour?|Red|Blue]][[replytool]]")
    assert run("wait", id).code == 6
    yield id
    run.ok("kill", id)


@pytest.fixture
def wishes(run: Commands) -> Iterator[str]:
    """A session that asks for permission."""
    id = run.create()
    run.ok("send", id, "[[may: rm -r x]][[replytool]]")
    assert run("wait", id).code == 6
    yield id
    run.ok("kill", id)


def reply(run: Commands, id: str) -> str:
    waited = run("wait", id, "--json")
    assert waited.code == 0, waited
    return str(waited.json["turns"][-1]["reply"])


@pytest.mark.gateway
def test_pending_prints_the_whole_question(run: Commands, asked: str) -> None:
    (one,) = run.json("pending")
    assert set(one) == FIELDS
    assert (one["session"], one["kind"], one["text"]) == (asked, "question", "Which colour?")
    assert [option["label"] for option in one["options"]] == ["Red", "Blue"]
    shown = run("pending")
    assert shown.code == 0
    assert all(words in shown.out for words in (asked, one["id"], "Which colour?", "1. Red", "2. Blue"))


def test_the_suggested_answer_names_the_question(run: Commands, asked: str) -> None:
    """So an answer to one question cannot go to a later one."""
    (one,) = run.json("pending")
    line = f"dev-sessions respond {asked} --question {one['id']} --choose"
    assert line in run("pending").out
    assert line in run("wait", asked).err
    assert line in run("send", asked, "and now?").err


def test_nothing_is_pending(run: Commands) -> None:
    assert run.json("pending") == []
    assert run("pending")[:2] == (0, "")


def test_pending_of_a_group(run: Commands, asked: str) -> None:
    assert run.json("pending", "--group", "nobody") == []


@pytest.mark.gateway
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (["--choose", "2"], "Blue"),
        (["--choose", "1.2"], "Blue"),
        (["--choose", "red"], "Red"),
        (["--text", "Green"], "Green"),
        (["--deny", "ask me later"], "ask me later"),
    ],
)
def test_answers_to_a_question(run: Commands, asked: str, answer: list[str], said: str) -> None:
    assert run.ok("respond", asked, *answer) == "answered (question)"
    assert reply(run, asked) == said


@pytest.mark.gateway
@pytest.mark.parametrize("content", ['["Blue"]', '[["blue"]]', '{"Which colour?": "Blue"}'])
def test_answers_from_a_file(run: Commands, asked: str, content: str) -> None:
    run.ok("respond", asked, "--answers", "-", stdin=content)
    assert reply(run, asked) == "Blue"


@pytest.mark.gateway
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (["--allow"], "allow"),
        (["--always"], "always"),
        (["--deny"], "deny"),
        (["--deny", "not yet"], "not yet"),
        (["--choose", "always"], "always"),
        (["--choose", "3"], "deny"),
    ],
)
def test_answers_to_a_request_for_permission(run: Commands, wishes: str, answer: list[str], said: str) -> None:
    assert run.ok("respond", wishes, *answer) == "answered (permission)"
    assert reply(run, wishes) == said


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([], "give one answer"),
        (["--allow"], "--allow"),
        (["--choose", "3"], "no option '3'"),
        (["--choose", "2.1"], "no option '2.1'"),
        (["--choose", "1", "--choose", "2"], "takes one answer"),
        (["--text", " "], "not empty"),
        (["--text", "x", "--choose", "1"], "not 2"),
        (["because", "--choose", "1"], "can have a reason"),
        (["--answers", "-"], "invalid JSON"),
    ],
)
def test_invalid_answers_to_a_question(run: Commands, asked: str, answer: list[str], why: str) -> None:
    done = run("respond", asked, *answer)
    assert done.code == 2, done
    assert why in done.err
    assert "next: " in done.err
    assert run.ok("status", asked) == "waiting_for_input"
    run.ok("respond", asked, "--choose", "1")
    assert reply(run, asked) == "Red"


@pytest.mark.gateway
def test_a_question_that_is_no_longer_open(run: Commands, asked: str) -> None:
    (one,) = run.json("pending")
    run.ok("respond", asked, "--choose", "1", "--question", one["id"])
    assert reply(run, asked) == "Red"
    for more in ([], ["--question", one["id"]]):
        done = run("respond", asked, "--choose", "2", *more, "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "question_gone")


def test_several_questions_are_answered_one_by_one(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[ask: Which colour?|Red|Blue;How many?|One|Two]][[replytool]]")
    assert run("wait", id).code == 6
    run.lab.until(lambda: len(run.json("pending")) == 2, "both questions")
    colour, number = run.json("pending")
    refused = run("respond", id, "--choose", "1")
    assert refused.code == 2
    assert all(one["id"] in refused.err for one in (colour, number))
    run.ok("respond", id, "--choose", "2", "--question", number["id"])
    assert [one["id"] for one in run.json("pending")] == [colour["id"]]
    assert run.ok("status", id) == "waiting_for_input"
    run.ok("respond", id, "--choose", "2")
    assert reply(run, id) == "Blue\nTwo"
    run.ok("kill", id)


@pytest.mark.gateway
def test_a_repeated_request_answers_once(run: Commands, asked: str) -> None:
    first = run.ok("respond", asked, "--choose", "1", "--request-id", "r-1", "--json")
    assert reply(run, asked) == "Red"
    run.ok("send", asked, "[[ask: Which colour?|Red|Blue]][[replytool]]")
    assert run("wait", asked).code == 6
    assert run.ok("respond", asked, "--choose", "2", "--request-id", "r-1", "--json") == first
    assert set(json.loads(first)) == {"session", "question", "kind", "agent", "answer", "screen", "request_id"}
    assert run.ok("status", asked) == "waiting_for_input"


def test_old_answers_are_dropped(run: Commands, asked: str) -> None:
    folder = run.lab.folder(asked) / "answers"
    folder.mkdir()
    for number in range(150):
        (folder / f"{number}.json").write_text("{}")
        os.utime(folder / f"{number}.json", (number, number))
    first = run.ok("respond", asked, "--choose", "1", "--request-id", "r/1", "--json")
    assert len(list(folder.iterdir())) == 100
    assert not (folder / "50.json").exists()
    assert run.ok("respond", asked, "--choose", "1", "--request-id", "r/1", "--json") == first


def test_twenty_questions_of_eight_sessions(run: Commands) -> None:
    """Each is listed once, and each answer goes to its own question."""
    ids = [run.create() for _ in range(8)]
    for place, id in enumerate(ids):
        asked = ";".join(f"{id} number {n}?|A|B" for n in range(3 if place < 4 else 2))
        run.ok("send", id, f"[[ask: {asked}]][[replytool]]")
    run.lab.until(lambda: len(run.json("pending")) == 20, "all questions")
    questions = run.json("pending")
    assert [one["since"] for one in questions] == sorted(one["since"] for one in questions)
    assert all(one["text"].startswith(one["session"]) for one in questions)
    for one in reversed(questions):
        run.ok("respond", one["session"], "--question", one["id"], "--text", f"yes: {one['text']}")
    for place, id in enumerate(ids):
        wanted = [f"yes: {id} number {n}?" for n in range(3 if place < 4 else 2)]
        assert reply(run, id).split("\n") == wanted
    assert run.json("pending") == []
    run.ok("kill", *ids)


def test_an_agent_that_takes_no_answers(run: Commands) -> None:
    id = run.ok("create", "--cli", "fake-bare", "-q")
    run.ok("send", id, "[[ask: Which?|A|B]]")
    assert run("wait", id).code == 6
    done = run("respond", id, "--choose", "1")
    assert done.code == 4
    assert f"dev-sessions attach {id}" in done.err
    run.ok("kill", id)


def test_no_such_session(run: Commands) -> None:
    assert run("respond", "nobody", "--allow").code == 3
