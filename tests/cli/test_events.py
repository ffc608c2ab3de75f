"""`events`: every act and every fact once, ordered by time, so far and as they happen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Commands

ALWAYS = {"at", "session", "event"}
# Further fields; exactly these.
FIELDS = {
    "created": {"cli", "path", "description", "group", "parent"},
    "message": {"turn", "queued", "via", "sender", "request_id"},
    "attempted": {"turn"},
    "receipt": {"turn", "receipt"},
    "unconfirmed": {"turn"},
    "withdrawn": {"turn"},
    "alive": set(),
    "accepted": {"turn", "prompt", "text", "held"},
    "started": {"turn", "prompt", "text"},
    "joined": {"turn", "prompt", "text"},
    "asked": {"turn", "question"},
    "ended": {"turn", "turns", "prompt", "outcome", "reply", "error", "reason", "resets_at", "background"},
    "gone": {"error"},
    "killed": set(),
}
TURN = ["message", "attempted", "accepted", "ended", "receipt"]


def told(run: Commands, *ids: str) -> list[dict[str, Any]]:
    """The events of sessions, each with the fields that belong to it."""
    events = [json.loads(line) for line in run.ok("events", *ids).splitlines()]
    for event in events:
        assert set(event) == ALWAYS | FIELDS[event["event"]], event
    return events


def short(events: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    return [(event["event"], event.get("turn")) for event in events]


def upto(process: subprocess.Popen[str], name: str, **fields: Any) -> list[dict[str, Any]]:
    """The next events, the last of which is of that name and has these fields."""
    found: list[dict[str, Any]] = []
    assert process.stdout
    while not found or found[-1]["event"] != name or not fields.items() <= found[-1].items():
        line = process.stdout.readline()
        assert line, f"ended before {name}: {found}"
        found.append(json.loads(line))
    return found


def turn_in(process: subprocess.Popen[str], **fields: Any) -> list[dict[str, Any]]:
    """The next events until a turn is over and its sender has its receipt, in whatever order these come."""
    found: list[dict[str, Any]] = []
    left = {"ended", "receipt"}
    assert process.stdout
    while left:
        line = process.stdout.readline()
        assert line, f"ended before {left}: {found}"
        found.append(json.loads(line))
        if fields.items() <= found[-1].items():
            left.discard(found[-1]["event"])
    return found


@pytest.mark.gateway
def test_events_of_a_session(run: Commands) -> None:
    id = run.create("--description", "d")
    run.ok("ask", id, "[[reply: one]]")
    run.ok("send", id, "[[error: no credit]]")
    assert run("wait", id).code == 5
    events = told(run, id)
    assert {event["session"] for event in events} == {id}
    assert short(events)[:2] == [("created", None), ("alive", None)]
    # The receipt is written when the fact is seen: before or after the end of such a quick turn.
    assert sorted(short(events)[2:]) == sorted((name, turn) for turn in (1, 2) for name in TURN)
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    one, two = (event for event in events if event["event"] == "ended")
    assert (one["outcome"], one["reply"], one["error"], one["turns"]) == ("completed", "one", None, [1])
    assert (two["outcome"], two["reply"], two["error"], two["turns"]) == ("failed", None, "no credit", [2])
    assert [event["text"] for event in events if event["event"] == "accepted"] == [
        "[[reply: one]]",
        "[[error: no credit]]",
    ]


def test_events_are_lines_of_json_in_any_mode(run: Commands, idle: str) -> None:
    assert run("events", idle) == run("events", idle, "--json")


def test_a_message_taken_during_a_turn(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: a]][[reply: one]]")
    run.ok("send", id, "[[reply: two]]")
    run.release(id)
    run.ok("wait", id)
    events = told(run, id)
    held = [(event["turn"], event["held"]) for event in events if event["event"] == "accepted"]
    assert held == [(1, False), (2, True)]
    assert ("started", 2) in short(events)
    assert [event["turns"] for event in events if event["event"] == "ended"] == [[1], [2]]


def test_a_question_and_a_death(run: Commands, asking: str, dead: str) -> None:
    (asked,) = (event for event in told(run, asking) if event["event"] == "asked")
    assert (asked["turn"], asked["question"]["text"]) == (1, "Which one?")
    assert [option["label"] for option in asked["question"]["options"]] == ["this", "that"]
    (gone,) = (event for event in told(run, dead) if event["event"] == "gone")
    assert gone["error"] == "out of memory"


def test_a_sender_is_named(run: Commands, idle: str) -> None:
    id = run.create()
    run.ok("ask", id, "[[reply: x]]", env={"DEV_SESSIONS_ID": idle})
    (message,) = (event for event in told(run, id) if event["event"] == "message")
    assert (message["sender"], message["queued"], message["via"]) == (idle, False, "terminal")


def test_events_of_all_sessions_are_in_one_order(run: Commands, idle: str, dead: str) -> None:
    every = told(run)
    assert {idle, dead} <= {event["session"] for event in every}
    assert [event["at"] for event in every] == sorted(event["at"] for event in every)
    two = told(run, dead, idle)
    assert two == [event for event in every if event["session"] in (idle, dead)]


@pytest.mark.gateway
def test_events_without_sessions(run: Commands) -> None:
    done = run("events", "nobody")
    assert (done.code, done.out) == (3, "")
    assert "next: dev-sessions list" in done.err
    assert run("events", "nobody", "--json").json["error"]["code"] == "not_found"


@pytest.mark.gateway
def test_following_named_sessions_until_they_are_killed(run: Commands) -> None:
    id, other = run.create(), run.create()
    run.ok("ask", id, "[[reply: before]]")
    with run.following("events", "--follow", id) as process:
        assert len(turn_in(process)) == 2 + len(TURN)
        run.ok("ask", other, "[[reply: not told]]")
        run.ok("ask", id, "[[reply: after]]")
        assert sorted(short(turn_in(process))) == sorted((name, 2) for name in TURN)
        assert process.poll() is None
        run.ok("kill", id)
        last = upto(process, "killed")
        assert {event["session"] for event in last} == {id}
        assert process.wait(30) == 0
        assert process.stdout
        assert process.stdout.read() == ""


def test_following_ends_with_the_last_of_them(run: Commands) -> None:
    one, two = run.create(), run.create()
    with run.following("events", "--follow", one, two) as process:
        upto(process, "alive", session=two)
        run.ok("kill", one)
        upto(process, "killed", session=one)
        run.ok("ask", two, "[[reply: still told]]")
        upto(process, "ended", session=two)
        run.ok("kill", two)
        upto(process, "killed", session=two)
        assert process.wait(30) == 0


@pytest.mark.gateway
def test_following_all_includes_new_sessions_and_ends_with_ctrl_c(run: Commands, idle: str) -> None:
    with run.following("events", "--follow") as process:
        turn_in(process, session=idle, turn=2)
        new = run.create()
        run.ok("ask", new, "[[reply: hello]]")
        seen = [event for event in turn_in(process, session=new) if event["session"] == new]
        assert sorted(short(seen)) == sorted([("created", None), ("alive", None), *((name, 1) for name in TURN)])
        run.ok("kill", new)
        upto(process, "killed", session=new)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_each_event_is_reported_once_over_many_turns(run: Commands) -> None:
    id = run.create()
    with run.following("events", "--follow", id) as process:
        for number in range(8):
            run.ok("ask", id, f"[[reply: {number}]]")
        run.ok("kill", id)
        followed = upto(process, "killed")
        assert process.wait(30) == 0
    assert sorted(short(followed)) == sorted(
        [
            ("created", None),
            ("alive", None),
            ("killed", None),
            *((name, turn) for turn in range(1, 9) for name in TURN),
        ]
    )


def test_a_removed_folder_ends_the_following(run: Commands) -> None:
    id = run.create()
    folder = run.lab.folder(id)
    with run.following("events", "--follow", id) as process:
        upto(process, "alive")
        os.kill(run.lab.pid(id), signal.SIGKILL)
        os.rename(folder, run.lab.path / "elsewhere")
        assert process.wait(30) == 0
    os.rename(run.lab.path / "elsewhere", folder)
    run.ok("kill", id)


def test_following_may_begin_before_the_first_session(run: Commands) -> None:
    home = {"DEV_SESSIONS_HOME": str(run.lab.path / "first")}
    assert run("events", env=home) == (0, "", "")
    with run.following("events", "--follow", env=home) as process:
        id = run.create(env=home)
        upto(process, "alive", session=id)
        run.ok("kill", id, env=home)
        upto(process, "killed", session=id)
