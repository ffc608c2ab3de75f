"""The verbs of `Client` against the scripted agent, in this process, as a Python program would use them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Lab

from dev_sessions import errors
from dev_sessions.app import client as make_client
from dev_sessions.client import Client

PUBLIC = {
    *("id", "cli", "mode", "permissions", "path", "host", "description", "group", "parent", "depth", "model"),
    *("capabilities", "created_at", "created_by", "status", "continue_at_reset"),
    *("trust", "left_out"),
}


NO_LIMIT = {"reason": None, "resets_at": None}


class Desk:
    """A client of a lab, its events, and the sessions that it created."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.events: list[dict[str, Any]] = []
        self.client = self.with_environ()

    def with_environ(self, **added: str) -> Client:
        return make_client({**self.lab.env, **added}, self.events.append)

    def create(self, **params: Any) -> str:
        id: str = self.client.create(**{"cli": "fake", "path": str(self.lab.project), **params})["id"]
        return id

    def release(self, id: str, name: str) -> None:
        (self.lab.folder(id) / "agent" / "release" / name).touch()

    def notes(self) -> list[str]:
        return [event["note"] for event in self.events if "note" in event]


@pytest.fixture
def desk(lab: Lab) -> Iterator[Desk]:
    made = Desk(lab)
    yield made
    made.client.kill([row["id"] for row in made.client.list()])


@contextlib.contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread while the block waits."""
    timer = threading.Timer(0.1, act)
    timer.start()
    yield
    timer.join()


def test_create_returns_the_public_record(desk: Desk) -> None:
    record = desk.client.create(
        cli="fake",
        path=str(desk.lab.project),
        description="fix it",
        model="m-1",
        group="g",
        permissions="edit",
        id="fizz-top",
    )
    assert set(record) >= PUBLIC - {"status"}
    assert not {"key", "backend", "creator", "request_id"} & set(record)
    expected = {"id": "fizz-top", "cli": "fake", "mode": "native", "permissions": "edit", "host": None, "depth": 1}
    expected |= {"path": str(desk.lab.project), "description": "fix it", "group": "g", "model": "m-1", "parent": None}
    assert {name: record[name] for name in expected} == expected
    assert record["capabilities"] == ["attach", "interrupt", "respond", "revive"]


def test_create_returns_the_status(desk: Desk) -> None:
    assert desk.client.create(cli="fake", path=str(desk.lab.project))["status"] == "idle"


def test_create_allocates_different_ids(desk: Desk) -> None:
    first, second = desk.create(), desk.create()
    assert first != second
    for id in (first, second):
        champion, dash, role = id.partition("-")
        assert champion.isalpha()
        assert dash
        assert role in ("top", "jg", "mid", "adc", "sup")


def test_create_refuses_an_id_that_is_taken(desk: Desk) -> None:
    desk.create(id="ahri-mid")
    with pytest.raises(errors.UsageError, match="ahri-mid"):
        desk.create(id="ahri-mid")


@pytest.mark.parametrize("id", ["Fizz", "1a", "a-", "a b", "../x", "", "a" * 65, "a/b", "ä"])
def test_create_refuses_an_invalid_id(desk: Desk, id: str) -> None:
    with pytest.raises(errors.UsageError):
        desk.create(id=id)
    assert desk.client.list() == []


def test_create_refuses_a_group_that_a_shell_could_run(desk: Desk) -> None:
    for group in ("$(touch x)", "a b", "A", "-a", "a'", ""):
        with pytest.raises(errors.UsageError, match="invalid group"):
            desk.create(group=group)
    assert desk.client.list() == []


def test_a_killed_id_is_not_allocated_again_but_may_be_asked_for(desk: Desk) -> None:
    id = desk.create()
    desk.client.kill([id])
    assert desk.create(id=id) == id
    desk.client.kill([id])
    assert len(list((desk.lab.state / "archive").glob(f"{id}-????????"))) == 2


def test_create_passes_variables_on_and_drops_the_callers_own(desk: Desk) -> None:
    inside = desk.with_environ(CLAUDECODE="1", CODEX_THREAD_ID="x", KEPT="yes")
    id = inside.create(cli="fake", path=str(desk.lab.project), env={"MINE": "a=b c"})["id"]
    environ = dict(
        entry.split("=", 1)
        for entry in Path(f"/proc/{desk.lab.pid(id)}/environ").read_text().split("\0")
        if "=" in entry
    )
    assert (environ["MINE"], environ["KEPT"], environ["DEV_SESSIONS_ID"]) == ("a=b c", "yes", id)
    assert environ["DEV_SESSIONS_DEPTH"] == "1"
    assert not {"CLAUDECODE", "CODEX_THREAD_ID"} & set(environ)


def test_create_inside_a_session_records_the_parent_and_stops_at_the_limit(desk: Desk) -> None:
    inside = desk.with_environ(DEV_SESSIONS_ID="ahri-mid", DEV_SESSIONS_DEPTH="3")
    record = inside.create(cli="fake", path=str(desk.lab.project))
    assert (record["parent"], record["depth"]) == ("ahri-mid", 4)
    with pytest.raises(errors.UsageError, match="limit"):
        desk.with_environ(DEV_SESSIONS_DEPTH="4").create(cli="fake", path=str(desk.lab.project))


def test_a_failed_create_leaves_nothing_behind(desk: Desk) -> None:
    before = desk.lab.processes()
    with pytest.raises(errors.LaunchFailed, match="no licence"):
        desk.create(env={"FAKE_START": "die: no licence"})
    assert desk.client.list() == []
    assert list(desk.lab.state.glob("sessions/*-????????")) == []
    # The server of the lab's terminals may have come, and stays as long as it holds a terminal.
    assert [pid for pid in desk.lab.processes() if pid not in before and comm(pid) != "tmux: server"] == []


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_create_gives_up_on_an_agent_that_never_gets_ready(desk: Desk) -> None:
    impatient = desk.with_environ(DEV_SESSIONS_READY_TIMEOUT="0.3")
    with pytest.raises(errors.LaunchFailed, match=r"0\.3 s"):
        impatient.create(cli="fake", path=str(desk.lab.project), env={"FAKE_START": "mute"})
    assert desk.client.list() == []


def test_create_accepts_the_folder_or_starts_without_the_projects_files(desk: Desk) -> None:
    desk.create(env={"FAKE_START": "trust"})
    assert [note for note in desk.notes() if "trusted" in note]
    desk.create(env={"FAKE_START": "trust"}, trust=False)
    assert [note for note in desk.notes() if ".fake" in note]
    assert sorted(str(row["left_out"]) for row in desk.client.list()) == ["None", "['.fake']"]
    with pytest.raises(errors.UsageError, match="trust"):
        desk.create(trust="no")


def test_an_agent_that_asks_at_its_start_is_kept(desk: Desk) -> None:
    with pytest.raises(errors.WaitingForInput) as caught:
        desk.create(id="lux-sup", env={"FAKE_START": "dialog: Accept the terms?"})
    assert caught.value.data["session"] == "lux-sup"
    state = desk.client.status("lux-sup")
    assert state["status"] == "waiting_for_input"
    assert state["question"]["text"] == "Accept the terms?"
    outcome = desk.client.wait(["lux-sup"])[0]
    assert (outcome["outcome"], outcome["question"]["text"]) == ("waiting_for_input", "Accept the terms?")
    with pytest.raises(errors.WaitingForInput):
        desk.client.send("lux-sup", "hello")
    desk.lab.until(lambda: "Accept the terms?" in desk.lab.screen("lux-sup"), "the dialog on the screen")
    desk.lab.keys("lux-sup", "yes", "Enter")
    desk.lab.until(lambda: desk.client.status("lux-sup")["status"] == "idle", "the person's answer")


def test_send_wait_and_read(desk: Desk) -> None:
    id = desk.create()
    receipt = desk.client.send(id, "[[hold: a]][[reply: done]]", "r-1")
    assert receipt == {"session": id, "turn": 1, "receipt": "started", "via": "terminal", "request_id": "r-1"}
    assert desk.client.status(id) == {
        "session": id,
        "status": "working",
        "turn": 1,
        "question": None,
        "background": 0,
        "left": [],
        "queued": [],
        "error": None,
        **NO_LIMIT,
    }
    assert desk.client.last_message(id) == []
    with meanwhile(lambda: desk.release(id, "a")):
        outcomes = desk.client.wait([id], interval=600)
    assert outcomes == [
        {
            "session": id,
            "turn": 1,
            "outcome": "completed",
            "error": None,
            **NO_LIMIT,
            "question": None,
            "turns": [{"turn": 1, "outcome": "completed", "reply": "done", "error": None, **NO_LIMIT}],
        }
    ]
    assert outcomes[0] in desk.events
    assert desk.client.last_message(id) == ["done"]
    assert desk.client.wait([id]) == outcomes


def test_the_agents_events_wake_a_wait(desk: Desk) -> None:
    """With an interval of ten minutes, only an end, a question, a death or a kill can wake it."""
    for prompt, act, word in (
        ("[[hold: a]]", lambda id: desk.release(id, "a"), "completed"),
        ("[[hold: a]][[error: no]]", lambda id: desk.release(id, "a"), "failed"),
        ("[[hold: a]][[ask: Q|A]]", lambda id: desk.release(id, "a"), "waiting_for_input"),
        ("[[hold: a]][[die]]", lambda id: desk.release(id, "a"), "exited"),
        ("[[hold: a]]", lambda id: os.kill(desk.lab.pid(id), 9), "exited"),
        ("[[hold: a]]", lambda id: desk.with_environ().interrupt(id), "interrupted"),
        ("[[hold: a]]", lambda id: desk.with_environ().kill([id]), "exited"),
    ):
        id = desk.create()
        desk.client.send(id, prompt)
        with meanwhile(lambda act=act, id=id: act(id)):
            (outcome,) = desk.client.wait([id], interval=600)
        assert outcome["outcome"] == word


def test_wait_for_nothing_sent_is_idle(desk: Desk) -> None:
    id = desk.create()
    (outcome,) = desk.client.wait([id])
    assert (outcome["outcome"], outcome["turn"], outcome["turns"]) == ("idle", None, [])


def test_wait_returns_several_in_the_order_of_their_ends(desk: Desk) -> None:
    first, second = desk.create(), desk.create()
    for id in (first, second):
        desk.client.send(id, "[[hold: a]]")
    with meanwhile(lambda: desk.release(second, "a")):
        (outcome,) = desk.client.wait([first, second], any=True, interval=600)
    assert outcome["session"] == second
    with meanwhile(lambda: desk.release(first, "a")):
        outcomes = desk.client.wait([first, second, first], interval=600)
    assert [(one["session"], one["outcome"]) for one in outcomes] == [(second, "completed"), (first, "completed")]


def test_wait_times_out_and_the_agent_goes_on(desk: Desk) -> None:
    id = desk.create()
    desk.client.send(id, "[[hold: a]][[reply: done]]")
    (outcome,) = desk.client.wait([id], timeout=0.05, interval=600)
    assert (outcome["outcome"], outcome["turns"]) == ("timeout", [])
    desk.release(id, "a")
    assert desk.client.wait([id])[0]["turns"][0]["reply"] == "done"


def test_wait_for_one_turn_only(desk: Desk) -> None:
    id = desk.create()
    desk.client.send(id, "[[reply: one]]")
    desk.client.wait([id])
    desk.client.send(id, "[[hold: a]][[reply: two]]")
    (outcome,) = desk.client.wait([id], turn=1)
    assert (outcome["turn"], outcome["outcome"]) == (1, "completed")
    assert [turn["reply"] for turn in outcome["turns"]] == ["one"]
    with pytest.raises(errors.UsageError, match="no turn 7"):
        desk.client.wait([id], turn=7)


def test_wait_for_background_work(desk: Desk, tmp_path: Path) -> None:
    id, gate = desk.create(), tmp_path / "gate"
    os.mkfifo(gate)
    desk.client.send(id, f"[[bash_bg: cat '{gate}']][[reply: left it]]")
    assert desk.client.wait([id])[0]["outcome"] == "completed"
    assert desk.client.status(id)["background"] == 1
    (outcome,) = desk.client.wait([id], settled=True, timeout=0.05)
    assert outcome["outcome"] == "timeout"
    with meanwhile(lambda: gate.write_text("over")):
        (outcome,) = desk.client.wait([id], settled=True, interval=600)
    assert (outcome["outcome"], outcome["turns"][0]["reply"]) == ("completed", "the background work is over")
    assert desk.client.wait([id])[0]["turns"][0]["reply"] == "left it"
    assert desk.client.status(id)["background"] == 0


def test_send_while_busy_is_accepted_and_covered_by_wait(desk: Desk) -> None:
    id = desk.create()
    assert desk.client.send(id, "[[hold: a]][[reply: one]]")["receipt"] == "started"
    assert desk.client.send(id, "[[reply: two]]")["receipt"] == "accepted"
    with meanwhile(lambda: desk.release(id, "a")):
        (outcome,) = desk.client.wait([id], interval=600)
    assert outcome["turn"] == 2
    assert [(turn["turn"], turn["reply"]) for turn in outcome["turns"]] == [(1, "one"), (2, "two")]
    assert desk.client.last_message(id, 2) == ["one", "two"]


def test_a_message_that_joins_the_running_turn_ends_with_it(desk: Desk) -> None:
    id = desk.create()
    desk.client.send(id, "[[hold: a]][[reply: both]]")
    desk.client.send(id, "[[join]]")
    desk.release(id, "a")
    (outcome,) = desk.client.wait([id])
    assert [(turn["turn"], turn["outcome"], turn["reply"]) for turn in outcome["turns"]] == [
        (1, "completed", "both"),
        (2, "completed", "both"),
    ]


def test_a_send_without_a_receipt_may_be_repeated(desk: Desk) -> None:
    id = desk.create()
    impatient = desk.with_environ(DEV_SESSIONS_RECEIPT_TIMEOUT="0.2")
    with pytest.raises(errors.DeliveryUnknown) as caught:
        impatient.send(id, "[[late: a]][[reply: late]]", "r-1")
    assert "r-1" in caught.value.data["next"]
    assert desk.client.wait([id])[0]["outcome"] == "failed"
    desk.release(id, "a")
    assert desk.client.send(id, "[[late: a]][[reply: late]]", "r-1")["turn"] == 1
    (outcome,) = desk.client.wait([id])
    assert (outcome["outcome"], outcome["turns"][0]["reply"]) == ("completed", "late")
    assert desk.client.last_message(id, 5) == ["late"]


def test_a_long_message_is_sent_as_a_file(desk: Desk) -> None:
    id = desk.create()
    text = "ä\n" * 100_000
    assert desk.client.send(id, text)["via"] == "file"
    assert desk.client.wait([id])[0]["turns"][0]["reply"] == text


@pytest.mark.parametrize("text", ["", "  \n ", None, "\ud800", "x" * (5 * 1024 * 1024 + 1)])
def test_send_refuses_an_invalid_message(desk: Desk, text: str | None) -> None:
    id = desk.create()
    with pytest.raises(errors.UsageError):
        desk.client.send(id, text)
    assert desk.client.wait([id])[0]["outcome"] == "idle"


def test_send_to_a_dead_agent_sends_nothing(desk: Desk) -> None:
    id = desk.create()
    desk.client.send(id, "[[reply: last]][[die: out of memory]]")
    (outcome,) = desk.client.wait([id])
    assert (outcome["outcome"], outcome["error"]) == ("exited", "out of memory")
    with pytest.raises(errors.AgentExited, match="out of memory"):
        desk.client.send(id, "hello")
    assert desk.client.last_message(id) == ["last"]


def test_send_while_a_question_is_open_sends_nothing(desk: Desk) -> None:
    id = desk.create()
    desk.client.send(id, "[[ask: Which?|this|that]]")
    (outcome,) = desk.client.wait([id])
    question = outcome["question"]
    assert (outcome["outcome"], question["text"]) == ("waiting_for_input", "Which?")
    assert question["options"] == [{"label": "this"}, {"label": "that"}]
    with pytest.raises(errors.WaitingForInput, match="Which") as caught:
        desk.client.send(id, "this")
    assert caught.value.data["question"] == question
    assert [turn["turn"] for turn in desk.client.wait([id])[0]["turns"]] == [1]


def test_queued_messages_get_their_own_turns_in_order(desk: Desk) -> None:
    id = desk.create()
    desk.client.send(id, "[[hold: a]][[reply: one]]")
    receipts = [desk.client.send(id, f"[[reply: {text}]]", queue=True) for text in ("two", "three")]
    assert [(receipt["turn"], receipt["receipt"]) for receipt in receipts] == [(2, "queued"), (3, "queued")]
    assert desk.client.status(id)["queued"] == [2, 3]
    desk.release(id, "a")
    (outcome,) = desk.client.wait([id])
    assert [(turn["turn"], turn["reply"]) for turn in outcome["turns"]] == [(1, "one"), (2, "two"), (3, "three")]
    assert desk.client.last_message(id, 9) == ["one", "two", "three"]


def test_the_courier_delivers_and_ends(desk: Desk) -> None:
    id = desk.create()
    with contextlib.chdir("."):
        assert desk.client.courier(id) == {"session": id, "delivered": 0}
    with pytest.raises(errors.UsageError, match="nothing is queued"):
        desk.client.send(id, None, queue=True)


def test_a_queue_for_an_agent_at_rest_starts_at_once(desk: Desk) -> None:
    id = desk.create()
    assert desk.client.send(id, "[[reply: now]]", queue=True)["receipt"] == "started"


def test_send_may_end_the_running_turn_first(desk: Desk) -> None:
    id = desk.create()
    desk.client.send(id, "[[hold: never]]")
    assert desk.client.send(id, "[[reply: instead]]", interrupt=True)["receipt"] == "started"
    (outcome,) = desk.client.wait([id])
    assert (outcome["turn"], outcome["outcome"]) == (2, "completed")
    assert desk.client.wait([id], turn=1)[0]["outcome"] == "interrupted"


def test_interrupt_returns_what_it_ended(desk: Desk) -> None:
    id = desk.create()
    nothing = {"session": id, "interrupted": [], "status": "idle", "was": "idle", "outcome": None}
    assert desk.client.interrupt(id) == nothing
    desk.client.send(id, "[[hold: never]]")
    cut = {"session": id, "interrupted": [1], "status": "idle", "was": "working", "outcome": "interrupted"}
    assert desk.client.interrupt(id) == cut
    assert desk.client.wait([id])[0]["outcome"] == "interrupted"


def test_a_missing_capability_is_unsupported(desk: Desk) -> None:
    id = desk.create(cli="fake-bare")
    desk.client.send(id, "[[hold: a]]")
    for verb in (desk.client.interrupt, desk.client.attach):
        with pytest.raises(errors.Unsupported, match="fake-bare") as caught:
            verb(id)
        assert caught.value.data["capability"] in ("interrupt", "attach")
    with pytest.raises(errors.Unsupported):
        desk.client.send(id, "x", interrupt=True)
    desk.release(id, "a")
    (outcome,) = desk.client.wait([id])
    assert [turn["outcome"] for turn in outcome["turns"]] == ["completed"]


def test_ask_sends_waits_and_returns_the_reply(desk: Desk) -> None:
    id = desk.create()
    answer = desk.client.ask(id, "[[reply: first]][[reply: last]]", request_id="r-1")
    assert answer == {
        "session": id,
        "turn": 1,
        "outcome": "completed",
        "reply": "last",
        "receipt": "started",
        "via": "terminal",
        "error": None,
        **NO_LIMIT,
        "question": None,
        "turns": [{"turn": 1, "outcome": "completed", "reply": "last", "error": None, **NO_LIMIT}],
    }
    assert desk.client.ask(id, "ignored: it is the same request", request_id="r-1") == answer
    failed = desk.client.ask(id, "[[error: no credit]]")
    assert (failed["outcome"], failed["error"], failed["reply"]) == ("failed", "no credit", None)
    with pytest.raises(errors.TimedOut) as caught:
        desk.client.ask(id, "[[hold: a]]", timeout=0.05)
    assert caught.value.data["turn"] == 3
    assert id in caught.value.data["next"]


def test_last_message_omits_the_running_turn(desk: Desk) -> None:
    id = desk.create()
    desk.client.ask(id, "[[reply: before]]")
    desk.client.send(id, "[[reply: half]][[hold: a]]")
    said = desk.lab.folder(id) / "agent" / "conversation.jsonl"
    desk.lab.until(lambda: "half" in said.read_text(), "the agent has said it")
    assert desk.client.last_message(id, 5) == ["before"]
    assert any("a turn is running" in note for note in desk.notes())
    with pytest.raises(errors.UsageError):
        desk.client.last_message(id, 0)


def test_list_filters_and_sorts_by_last_use(desk: Desk) -> None:
    first, second, third = desk.create(group="g"), desk.create(group="g"), desk.create()
    desk.client.send(first, "[[hold: a]]")
    rows = desk.client.list()
    assert [row["id"] for row in rows] == [first, third, second]
    assert set(rows[0]) >= PUBLIC | {"last_used"}
    assert [row["id"] for row in desk.client.list(group="g")] == [first, second]
    assert [row["id"] for row in desk.client.list(status="working")] == [first]
    assert [row["id"] for row in desk.client.list(group="g", status="idle")] == [second]
    assert desk.client.list(group="nobody") == []
    with pytest.raises(errors.UsageError, match="sleeping"):
        desk.client.list(status="sleeping")


def test_a_dead_agent_stays_listed_as_exited(desk: Desk) -> None:
    id = desk.create()
    os.kill(desk.lab.pid(id), 9)
    desk.lab.until(lambda: desk.client.list()[0]["status"] == "exited", "its death")
    assert desk.client.status(id)["error"]


def test_attach_returns_the_command(desk: Desk) -> None:
    id = desk.create()
    answer = desk.client.attach(id)
    assert answer["session"] == id
    assert answer["argv"][-1] == f"=dev-{id}"
    os.kill(desk.lab.pid(id), 9)
    desk.lab.until(lambda: desk.client.status(id)["status"] == "exited", "its death")
    with pytest.raises(errors.AgentExited):
        desk.client.attach(id)


def test_kill_ends_the_agent_removes_the_record_and_archives_the_folder(desk: Desk) -> None:
    first, second = desk.create(), desk.create()
    pids = [desk.lab.pid(id) for id in (first, second)]
    desk.client.send(first, "[[hold: never]]")
    done = desk.client.kill([first, second, first])
    assert done == [{"session": id, "outcome": "killed"} for id in (first, second)]
    assert [event for event in desk.events if "outcome" in event] == done
    assert desk.client.list() == []
    assert not set(pids) & set(desk.lab.processes())
    for id in (first, second):
        folder = desk.lab.folder(id)
        assert folder.parent.name == "archive"
        assert not (folder / "agent" / "start.sh").exists()  # it held the environment
        with pytest.raises(errors.SessionNotFound):
            desk.client.status(id)


def test_kill_of_an_unknown_session_kills_nothing(desk: Desk) -> None:
    id = desk.create()
    with pytest.raises(errors.SessionNotFound):
        desk.client.kill([id, "nobody"])
    assert desk.client.status(id)["status"] == "idle"


def test_times_are_seconds_since_the_epoch(desk: Desk) -> None:
    before = time.time()
    id = desk.create()
    desk.client.ask(id, "hello")
    (row,) = desk.client.list()
    assert before <= row["created_at"] <= row["last_used"] <= time.time()


def test_logs_are_entries_one_at_a_time(desk: Desk) -> None:
    id = desk.create()
    desk.client.ask(id, "[[reply: one]]")
    entries = desk.client.logs(id)
    assert iter(entries) is entries
    assert [(entry["role"], entry["text"], entry["turn"]) for entry in entries] == [
        ("user", "[[reply: one]]", 1),
        ("assistant", "one", 1),
    ]


def test_followed_logs_arrive_during_the_turn_and_end_with_the_session(desk: Desk) -> None:
    id = desk.create()
    desk.client.send(id, "[[reply: half]][[hold: a]][[reply: whole]]")
    entries = desk.client.logs(id, follow=True)
    assert [next(entries)["text"] for _ in range(2)][1] == "half"
    desk.release(id, "a")
    assert next(entries)["text"] == "whole"
    desk.client.kill([id])
    assert list(entries) == []


def test_events_of_all_or_of_some(desk: Desk) -> None:
    one, two = desk.create(), desk.create()
    assert {event["session"] for event in desk.client.events()} == {one, two}
    assert {event["session"] for event in desk.client.events([two])} == {two}
    with pytest.raises(errors.SessionNotFound, match="nobody"):
        list(desk.client.events(["nobody"]))


def test_inspect_returns_more_than_list(desk: Desk) -> None:
    id = desk.create(description="d")
    (row,) = desk.client.list()
    found = desk.client.inspect(id)
    assert {name: found[name] for name in row} == row
    assert found["folder"] == str(desk.lab.folder(id))


def test_names_come_from_the_registry(desk: Desk) -> None:
    assert desk.client.names() == []
    id = desk.create(description="fix it", group="g")
    assert desk.client.names() == [{"id": id, "description": "fix it", "group": "g"}]


def test_kill_by_condition_yields_each_result(desk: Desk) -> None:
    one, two, other = desk.create(group="g"), desk.create(group="g"), desk.create()
    killed = desk.client.kill(group="g")
    assert killed == [event for event in desk.events if "outcome" in event]
    assert {row["session"] for row in killed} == {one, two}
    assert [row["id"] for row in desk.client.list()] == [other]
    with pytest.raises(errors.UsageError):
        desk.client.kill()


def test_wait_for_a_group(desk: Desk) -> None:
    one, two = desk.create(group="g"), desk.create(group="g")
    desk.create()
    assert {row["session"] for row in desk.client.wait(group="g")} == {one, two}
    with pytest.raises(errors.SessionNotFound):
        desk.client.wait(group="nobody")
