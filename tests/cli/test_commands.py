"""Every command and flag: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dev_sessions import __version__
from dev_sessions.names import CHAMPIONS, ROLES

if TYPE_CHECKING:
    from conftest import Commands

COMMANDS = (
    *("create", "send", "ask", "wait", "last-message", "status", "list", "interrupt", "revive", "goal"),
    *("pending", "respond", "attach", "logs", "inspect", "events", "kill"),
    *("sync-delegate", "fan-out", "consult", "handoff"),
    *("install-skill", "doctor", "templates", "skill", "gateway"),
)
START = (
    "--cli -m --mode --permissions -p --path --model --group --env --trust --no-trust"
    " --continue-at-reset --template --var"
)
FLAGS = {
    "create": "--cli -m --mode --permissions -p --path -d --description --model --id --group --env --trust"
    " --no-trust --continue-at-reset -f --file --template --var -q --quiet --request-id --json -h --help",
    "send": "-f --file --template --var --queue --interrupt --request-id --json -h --help",
    "ask": "-f --file --template --var -t --timeout --interrupt --request-id --json -h --help",
    "wait": "--group --any -t --timeout -i --interval --turn --settled --goal --next-turn --json -h --help",
    "last-message": "-n --count --json -h --help",
    "status": "--json -h --help",
    "list": "--group --status --json -h --help",
    "interrupt": "--json -h --help",
    "revive": "--all --json -h --help",
    "goal": "--file -f --budget --pause --resume --clear --json -h --help",
    "pending": "--group --json -h --help",
    "respond": "--allow --always --deny --choose --text --answers --key --question --request-id --json -h --help",
    "attach": "--json -h --help",
    "logs": "--follow --json -h --help",
    "inspect": "--json -h --help",
    "events": "--follow --json -h --help",
    "kill": "--all --group --older-than --json -h --help",
    "sync-delegate": f"{START} -d --description --id -f --file -t --timeout --settled --keep --request-id"
    " --json -h --help",
    "fan-out": f"{START} --resume --max-parallel --worktree --join --stream -t --timeout --settled --keep"
    " --json -h --help",
    "consult": "--cli --permissions -p --path --env --trust --no-trust --template --var -f --file -t --timeout"
    " --settled --keep --json -h --help",
    "handoff": f"{START} -d --description --id -f --file -q --quiet --json -h --help",
    "templates": "-h --help",
    "install-skill": "--global --local --claude --codex --force --check --diff --uninstall --dry-run --json -h --help",
    "doctor": "--json -h --help",
    "gateway": "--port --socket --allow --all-sessions -h --help",
    "skill": "-h --help",
}

SESSION = {
    *("id", "cli", "mode", "permissions", "path", "host", "description", "group", "parent", "depth", "model"),
    *("capabilities", "created_at", "created_by", "status", "continue_at_reset"),
    *("trust", "left_out"),
}
RECEIPT = {"session", "turn", "receipt", "via", "request_id"}
OUTCOME = {"session", "turn", "outcome", "turns", "error", "reason", "resets_at", "question"}
# Exactly these; a field that was released stays, and one that is new has to be added here.
FIELDS = {
    "create": SESSION,
    "list": SESSION | {"last_used"},
    "send": RECEIPT,
    "wait": OUTCOME,
    "ask": OUTCOME | {"reply", "receipt", "via"},
    "status": {
        *("session", "status", "turn", "question", "background", "left", "queued", "error", "reason", "resets_at")
    },
    "interrupt": {"session", "interrupted", "status", "was", "outcome"},
    "revive": {"session", "outcome", "status", "interrupted", "queued"},
    "attach": {"session", "argv"},
    "kill": {"session", "outcome"},
    "turn": {"turn", "outcome", "reply", "error", "reason", "resets_at"},
    "question": {"id", "kind", "text", "options", "since", "parts", "agent"},
    "error": {"code", "message", "data"},
}


# Help and version.


def test_help_names_every_command_but_the_hidden_one(run: Commands) -> None:
    done = run("--help")
    assert (done.code, done.err) == (0, "")
    listed = re.findall(r"^  ([a-z][a-z-]+)  ", done.out.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(COMMANDS)
    assert run("-h") == done


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_every_flag(run: Commands, command: str) -> None:
    done = run(command, "--help")
    assert (done.code, done.err) == (0, "")
    options = done.out.partition("Options:")[2]
    shown = re.findall(r"(?<![\w-])--?[a-z][a-z-]*(?=[ ,\n])", re.sub(r"(?m)^ {10,}.*$|  [A-Z\[].*$", "", options))
    assert set(shown) == set(FLAGS[command].split())
    assert run(command, "-h").out == done.out


def test_the_courier_is_hidden_and_runs(run: Commands, idle: str) -> None:
    assert "courier" not in run("--help").out
    assert run("courier", "--help").code == 0
    assert run.lab.run("courier", idle) == (0, "delivered 0\n", "")


def test_version(run: Commands) -> None:
    assert run("--version") == (0, f"dev-sessions {__version__}\n", "")


def test_without_a_command_the_help_is_shown(run: Commands) -> None:
    done = run()
    assert done.code == 2
    assert done.out == ""
    assert "last-message" in done.err
    assert not done.err.startswith("error: Usage")


# create, kill


def test_create_prints_the_new_session(run: Commands) -> None:
    done = run("create", "--cli", "fake", "--id", "own-name")
    assert done == (0, "Created session own-name\n", "")
    assert run("kill", "own-name") == (0, "Killed session own-name\n", "")


def test_create_quiet_prints_the_id_alone(run: Commands) -> None:
    done = run("create", "--cli", "fake", "--quiet")
    assert re.fullmatch(r"[a-z]+-(top|jg|mid|adc|sup)\n", done.out)
    assert done.err == ""
    run.ok("kill", done.out.strip())


@pytest.mark.gateway
def test_create_json_and_its_options(run: Commands, tmp_path: Path) -> None:
    words = ["--cli", "fake", "-m", "native", "--permissions", "plan", "-p", str(tmp_path), "-d", "d\n2"]
    words += ["--model", "m", "--id", "a1", "--group", "g", "--env", "A=b=c", "--env", "E=", "--request-id", "r"]
    record = run.json("create", *words)
    assert set(record) == FIELDS["create"]
    expected = {"id": "a1", "cli": "fake", "mode": "native", "permissions": "plan", "path": str(tmp_path)}
    expected |= {"description": "d\n2", "model": "m", "group": "g", "parent": None, "status": "idle", "host": None}
    assert {name: record[name] for name in expected} == expected
    environ = Path(f"/proc/{run.lab.pid('a1')}/environ").read_bytes().split(b"\0")
    assert {b"A=b=c", b"E="} <= set(environ)
    assert run.json("create", *words) == record  # the same request again
    run.ok("kill", "a1")


@pytest.mark.gateway
def test_create_takes_a_relative_path_from_the_current_directory(run: Commands) -> None:
    (run.lab.project / "sub dir").mkdir()
    record = run.json("create", "--cli", "fake", "--path", "sub dir")
    assert record["path"] == str(run.lab.project / "sub dir")
    run.ok("kill", record["id"])
    record = run.json("create", "--cli", "fake")
    assert record["path"] == str(run.lab.project)
    run.ok("kill", record["id"])


def test_a_folder_may_have_several_names(run: Commands) -> None:
    lab = run.lab
    folder = lab.path / "folders" / "the real one"
    folder.mkdir(parents=True)
    (lab.path / "link").symlink_to(folder)
    for word, wanted in [
        (f"{lab.path}/link", folder),
        (f"{folder}/", folder),
        (f"{folder}/../the real one/.", folder),
        ("../folders/the real one", folder),
        ("~", lab.home),
    ]:
        created = run.json("create", "--cli", "fake", "-p", word)
        assert created["path"] == str(wanted)
        assert os.readlink(f"/proc/{lab.pid(created['id'])}/cwd") == str(wanted)
        run.ok("kill", created["id"])


@pytest.mark.gateway
def test_create_with_a_file_sends_it(run: Commands, tmp_path: Path) -> None:
    brief = tmp_path / "brief.md"
    brief.write_text("[[reply: read it]]")
    record = run.json("create", "--cli", "fake", "--file", str(brief))
    assert set(record) == FIELDS["create"] | {"message"}
    assert set(record["message"]) == FIELDS["send"]
    assert (record["message"]["turn"], record["message"]["receipt"]) == (1, "started")
    run.ok("wait", record["id"])
    assert run.ok("last-message", record["id"]) == "read it"
    run.ok("kill", record["id"])
    id = run.create("-f", "-", stdin="[[reply: from stdin]]")
    run.ok("wait", id)
    assert run.ok("last-message", id) == "from stdin"
    run.ok("kill", id)


@pytest.mark.gateway
def test_create_with_a_file_that_cannot_be_read_starts_nothing(run: Commands, tmp_path: Path) -> None:
    before = run.json("list")
    done = run("create", "--cli", "fake", "-f", str(tmp_path / "none"))
    assert (done.code, done.out) == (2, "")
    assert run.json("list") == before


@pytest.mark.gateway
def test_create_twice_with_one_request_id_sends_its_file_once(run: Commands, tmp_path: Path) -> None:
    brief = tmp_path / "brief.md"
    brief.write_text("[[reply: once]]")
    words = ["create", "--cli", "fake", "-q", "--request-id", "first", "-f", str(brief)]
    id = run.ok(*words)
    run.ok("wait", id)
    assert run.ok(*words) == id
    assert run.ok("last-message", id, "-n", "9") == "once"
    run.ok("kill", id)


@pytest.mark.gateway
def test_notes_go_to_stderr(run: Commands) -> None:
    done = run("create", "--cli", "fake", "--id", "trusting", "--env", "FAKE_START=trust")
    assert (done.code, done.out) == (0, "Created session trusting\n")
    assert done.err == f"dev-sessions: told the agent that {run.lab.project} is trusted\n"
    run.ok("kill", "trusting")


@pytest.mark.parametrize(
    ("options", "takes"),
    [
        ("", True),
        ("--trust --permissions plan", True),
        *((f"--permissions {word}", False) for word in ("edit", "ask", "plan")),
        ("--no-trust", False),
    ],
)
def test_an_untrusted_folder_is_accepted_or_used_without_its_files(run: Commands, options: str, takes: bool) -> None:
    """The omitted files are listed on stderr and in the record, and stay omitted after a revive."""
    done = run("create", "--cli", "fake", "--env", "FAKE_START=trust", "--json", *options.split())
    id = done.json["id"]
    assert (done.code, done.json["left_out"]) == (0, None if takes else [".fake"]), done
    assert (".fake" in done.err and "--trust" in done.err) != takes
    assert done.json["trust"] == {"--trust": True, "--no-trust": False}.get(options.partition(" ")[0])
    assert run.json("inspect", id)["left_out"] == done.json["left_out"]
    run.ok("kill", id)


def test_an_invalid_trust_option(run: Commands) -> None:
    done = run("create", "--cli", "fake", "--trust=maybe")
    assert (done.code, done.out) == (2, "")


@pytest.mark.gateway
def test_an_agent_that_dies_at_its_start(run: Commands) -> None:
    before = run.json("list")
    done = run("create", "--cli", "fake", "--env", "FAKE_START=die: no licence")
    assert (done.code, done.out) == (1, "")
    assert "no licence" in done.err
    assert "\nnext: " in done.err
    assert run.json("list") == before


@pytest.mark.gateway
def test_an_agent_that_asks_at_its_start(run: Commands) -> None:
    done = run("create", "--cli", "fake", "--id", "asks-first", "--env", "FAKE_START=dialog: Accept?")
    assert (done.code, done.out) == (6, "")
    assert "Accept?" in done.err
    assert "next: dev-sessions attach asks-first" in done.err
    done = run("status", "asks-first")
    assert (done.code, done.out) == (0, "waiting_for_input\n")
    assert "Accept?" in done.err
    assert run("wait", "asks-first")[:2] == (6, "waiting_for_input\n")
    run.ok("kill", "asks-first")


def test_a_killed_id_may_be_chosen_again(run: Commands) -> None:
    """A chosen id can be reused at once; the archive keeps both sessions apart."""
    for life in ("First", "Second"):
        run.create("--id", "parser", "-d", life)
        assert run.ok("ask", "parser", f"[[reply: {life}.]]") == f"{life}."
        assert run.ok("last-message", "parser", "-n", "9") == f"{life}."
        run.ok("kill", "parser")
    assert run("kill", "parser").code == 3
    records = [json.loads(path.read_text()) for path in run.lab.state.glob("archive/parser-*/record.json")]
    assert sorted(record["description"] for record in records) == ["First", "Second"]


def test_a_killed_id_is_not_allocated_again_soon(run: Commands, tmp_path: Path) -> None:
    """If recent archives have all names but two, these two are allocated, then names with a number."""
    free, home = {"zyra-mid", "zyra-sup"}, {"DEV_SESSIONS_HOME": str(tmp_path / "state")}
    for name in {f"{champion}-{role}" for champion in CHAMPIONS for role in ROLES} - free:
        (tmp_path / "state" / "archive" / f"{name}-00000000").mkdir(parents=True)
    assert {run.create(env=home), run.create(env=home)} == free
    third = run.create(env=home)
    assert third not in free
    assert third[-1].isdecimal()
    run.ok("kill", third, *free, env=home)


@pytest.mark.gateway
def test_kill_several(run: Commands) -> None:
    ids = [run.create(), run.create()]
    assert run.json("kill", *ids) == [{"session": id, "outcome": "killed"} for id in ids]
    assert run("kill", ids[0]).code == 3


# send, ask, last-message


@pytest.mark.gateway
def test_send_prints_the_receipt(run: Commands, tmp_path: Path) -> None:
    id = run.create()
    assert run("send", id, "[[hold: a]]") == (0, "started (turn 1)\n", "")
    assert run("send", id, "more") == (0, "accepted (turn 2)\n", "")
    assert run("send", id, "later", "--queue") == (0, "queued (turn 3)\n", "")
    long = tmp_path / "long.md"
    long.write_text("x" * 200_000)
    assert run("send", id, "-f", str(long)) == (0, "accepted (turn 4, by file)\n", "")
    receipt = run.json("send", id, "x", "--request-id", "r")
    assert set(receipt) == FIELDS["send"]
    assert (receipt["turn"], receipt["request_id"]) == (5, "r")
    assert run.json("send", id, "x", "--request-id", "r") == receipt
    assert run.json("status", id)["queued"] == [3]
    run.release(id)
    assert run("wait", id)[:2] == (0, "completed\n")
    assert run.ok("last-message", id, "-n", "9").split("\n\n") == ["more", "x" * 200_000, "x", "later"]
    run.ok("kill", id)


@pytest.mark.gateway
def test_send_queue_without_a_message_delivers_the_queue(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: a]]")
    run.ok("send", id, "[[reply: queued]]", "--queue")
    receipt = run.json("send", id, "--queue")
    assert set(receipt) == FIELDS["send"]
    assert (receipt["turn"], receipt["receipt"]) == (2, "queued")
    run.release(id)
    run.ok("wait", id)
    done = run("send", id, "--queue")
    assert (done.code, done.out) == (2, "")
    run.ok("kill", id)


@pytest.mark.gateway
def test_send_interrupt(run: Commands) -> None:
    id = run.create()
    run.ok("send", id, "[[hold: never]]")
    assert run("send", id, "[[hold: never]]", "--interrupt")[:2] == (0, "started (turn 2)\n")
    assert run("wait", id, "--turn", "1")[:2] == (5, "interrupted\n")
    assert run("ask", id, "[[reply: third]]", "--interrupt") == (0, "third\n", "")
    run.ok("kill", id)


@pytest.mark.gateway
@pytest.mark.parametrize(
    "text",
    [
        "-n",
        "--help",
        "--json",
        "-",
        "/exit",
        "@x",
        "a\nb",
        "ends with \\",
        "two  blanks",
        "ünï \U0001f600",
        "a\tb\r\nc",
    ],
)
def test_any_message_arrives_unchanged(run: Commands, talker: str, text: str) -> None:
    assert run("ask", talker, "--", text) == (0, text + "\n", "")
    assert run("ask", talker, "-f", "-", stdin=text) == (0, text + "\n", "")


@pytest.fixture(scope="module")
def talker(run: Commands) -> str:
    return run.create()


def test_a_message_that_looks_like_an_option_is_refused_with_a_hint(run: Commands, talker: str) -> None:
    done = run("send", talker, "-x marks the spot")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith("next: dev-sessions send --help")


@pytest.mark.gateway
def test_ask_prints_the_reply_alone(run: Commands, talker: str) -> None:
    assert run("ask", talker, "[[reply: a\\nb]]") == (0, "a\nb\n", "")
    answer = run.json("ask", talker, "[[reply: c]]")
    assert set(answer) == FIELDS["ask"]
    assert (answer["outcome"], answer["reply"], answer["receipt"], answer["via"]) == (
        "completed",
        "c",
        "started",
        "terminal",
    )


@pytest.mark.gateway
def test_ask_that_fails_explains_on_stderr(run: Commands, talker: str) -> None:
    done = run("ask", talker, "[[reply: half]][[error: no credit]]")
    assert (done.code, done.out) == (5, "")
    assert "no credit" in done.err
    done = run("ask", talker, "[[error: no credit]]", "--json")
    assert (done.code, done.err) == (5, "")
    assert set(done.json) == FIELDS["ask"]
    assert (done.json["outcome"], done.json["error"], done.json["reply"]) == ("failed", "no credit", None)


@pytest.mark.gateway
def test_a_limit_is_printed_with_the_time_of_its_reset(run: Commands) -> None:
    id = run.create()
    done = run("ask", id, "[[limit: 1800000000]]")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1.8e9))
    limit = f"a limit of the account, which resets at {when}"
    assert done[:2] == (5, "")
    assert done.err.splitlines()[-1] == f"dev-sessions: {id} (turn 1): {limit}"
    state = run("status", id)
    assert state == (0, "idle\n", f"dev-sessions: {id}: its last turn ended by {limit}\n")
    for found in (run("wait", id, "--json").json, run.json("status", id)):
        assert (found["reason"], found["resets_at"]) == ("limit", 1.8e9)
    (ended,) = (one for one in map(json.loads, run.ok("events", id).splitlines()) if one["event"] == "ended")
    assert (ended["reason"], ended["resets_at"]) == ("limit", 1.8e9)
    assert run("ask", id, "[[limit]]").err.splitlines()[-1].endswith("the agent does not say when it resets")
    assert run.ok("ask", id, "[[reply: again]]") == "again"
    assert run.json("status", id)["reason"] is None
    assert run.json("wait", id, "--turn", "1")["resets_at"] == 1.8e9
    run.ok("kill", id)


def test_continue_at_reset_is_refused_for_other_agents(run: Commands) -> None:
    done = run("create", "--cli", "fake", "--continue-at-reset", "--json")
    assert (done.code, done.json["error"]["data"]["capability"]) == (4, "continue_at_reset")


@pytest.mark.gateway
def test_ask_that_times_out(run: Commands) -> None:
    id = run.create()
    done = run("ask", id, "[[hold: a]][[reply: late]]", "--timeout", "0.05")
    assert (done.code, done.out) == (124, "")
    assert done.err.splitlines()[-1] == f"next: dev-sessions wait {id}"
    run.release(id)
    assert run("wait", id)[:2] == (0, "completed\n")
    assert run.ok("last-message", id) == "late"
    run.ok("kill", id)


@pytest.mark.gateway
def test_ask_returns_when_the_agent_asks(run: Commands) -> None:
    id = run.create()
    done = run("ask", id, "[[ask: Which one?|this|that]]")
    assert (done.code, done.out) == (6, "")
    assert "Which one?\n  1. this\n  2. that\n" in done.err
    run.ok("kill", id)


@pytest.mark.gateway
def test_a_reply_goes_to_a_pipe_unchanged(run: Commands, talker: str) -> None:
    assert run("ask", talker, "[[reply: \x1b[31mred\x1b[0m]]").out == "\x1b[31mred\x1b[0m\n"


@pytest.mark.gateway
def test_last_message(run: Commands, idle: str) -> None:
    assert run("last-message", idle) == (0, "two\n", "")
    assert run("last-message", idle, "-n", "2") == (0, "one\n\ntwo\n", "")
    assert run("last-message", idle, "--count", "9") == (0, "one\n\ntwo\n", "")
    assert run.json("last-message", idle, "-n", "2") == ["one", "two"]


def test_last_message_before_there_is_one(run: Commands, busy: str) -> None:
    done = run("last-message", busy)
    assert (done.code, done.out) == (0, "")
    assert "a turn is running" in done.err
    id = run.create()
    done = run("last-message", id)
    assert (done.code, done.out) == (0, "")
    assert "has not written anything yet" in done.err
    done = run("last-message", id, "--json")
    assert (done.code, done.json) == (0, [])
    run.ok("kill", id)


def test_last_message_of_a_dead_agent(run: Commands, dead: str) -> None:
    assert run("last-message", dead)[:2] == (0, "last words\n")


# status, list


@pytest.mark.gateway
def test_status_prints_one_word(run: Commands, idle: str, busy: str, asking: str, dead: str) -> None:
    for id, word, note in (
        (idle, "idle", ""),
        (busy, "working", ""),
        (asking, "waiting_for_input", "Which one?"),
        (dead, "exited", "out of memory"),
    ):
        done = run("status", id)
        assert (done.code, done.out) == (0, f"{word}\n")
        assert note in done.err
        assert bool(note) == bool(done.err)
        state = run.json("status", id)
        assert set(state) == FIELDS["status"]
        assert (state["session"], state["status"]) == (id, word)
        assert bool(state["question"]) == (word == "waiting_for_input")


@pytest.mark.gateway
def test_a_question_in_json(run: Commands, asking: str) -> None:
    done = run("status", asking, "--json")
    assert done.err == ""
    question = done.json["question"]
    assert set(question) == FIELDS["question"]
    assert (question["kind"], question["text"]) == ("question", "Which one?")
    assert question["options"] == [{"label": "this"}, {"label": "that"}]


def test_list_is_a_table(run: Commands, idle: str, busy: str, dead: str) -> None:
    done = run("list")
    assert (done.code, done.err) == (0, "")
    head, *rows = done.out.splitlines()
    assert head.split() == ["id", "cli", "status", "mode", "path", "description", "last", "used"]
    row = next(row for row in rows if row.startswith(f"{idle} "))
    for title, value in (("cli", "fake"), ("status", "idle"), ("mode", "native"), ("path", str(run.lab.project))):
        assert row[head.index(f" {title}") + 1 :].startswith(value)
    assert row[head.index("description") :].startswith("fix the parser")
    assert row[head.index("last used") :] == "just now"
    assert next(row for row in rows if row.startswith(f"{dead} "))[head.index(" status") + 1 :].startswith("exited")
    assert all(row == row.rstrip() for row in rows)


@pytest.mark.gateway
def test_list_json_and_filters(run: Commands, idle: str, busy: str, dead: str) -> None:
    rows = run.json("list")
    assert {idle, busy, dead} <= {row["id"] for row in rows}
    for row in rows:
        assert set(row) == FIELDS["list"]
    assert [row["last_used"] for row in rows] == sorted((row["last_used"] for row in rows), reverse=True)
    assert {row["id"] for row in run.json("list", "--group", "shared")} == {idle, busy}
    assert {row["id"] for row in run.json("list", "--group", "shared", "--status", "working")} == {busy}
    assert dead in {row["id"] for row in run.json("list", "--status", "exited")}
    assert dead not in run.ok("list", "--status", "idle")


def test_an_empty_list_is_an_empty_result(run: Commands) -> None:
    done = run("list", "--group", "nobody")
    assert (done.code, done.out) == (0, "")
    assert "dev-sessions create" in done.err
    done = run("list", "--group", "nobody", "--json")
    assert (done.code, done.json, done.err) == (0, [], "")


# interrupt, attach


@pytest.mark.gateway
def test_interrupt(run: Commands, idle: str) -> None:
    assert run("interrupt", idle) == (0, "idle\n", "")
    id = run.create()
    run.ok("send", id, "[[hold: never]]")
    assert run("interrupt", id) == (0, "interrupted\n", "")
    run.ok("send", id, "[[hold: never]]")
    done = run.json("interrupt", id)
    assert set(done) == FIELDS["interrupt"]
    cut = {"session": id, "interrupted": [2], "status": "idle", "was": "working", "outcome": "interrupted"}
    assert done == cut
    run.ok("kill", id)


def test_attach_needs_a_terminal_and_names_the_command(run: Commands, idle: str) -> None:
    answer = run.json("attach", idle)
    assert set(answer) == FIELDS["attach"]
    assert answer["argv"][-1] == f"=dev-{idle}"
    done = run("attach", idle)
    assert (done.code, done.out) == (2, "")
    assert "terminal" in done.err
    assert done.err.splitlines()[-1] == f"next: in a terminal: {' '.join(answer['argv'])}"


def test_attach_connects_a_terminal_to_the_session(run: Commands, talker: str) -> None:
    """A terminal of the lab's own tmux runs `attach`; what is typed there reaches the agent."""
    lab = run.lab
    lab.tmux("new-session", "-d", "-s", "person", "-x", "100", "-y", "30", *lab.argv("attach", talker))
    lab.until(lambda: lab.tmux("list-clients", "-t", f"=dev-{talker}"), "a client on the session")
    lab.tmux("send-keys", "-t", "=person:", "[[reply: hello person]]", "Enter")
    lab.until(lambda: run.ok("last-message", talker) == "hello person", "the answer to the person")
    lab.tmux("send-keys", "-t", "=person:", "C-b", "d")
    lab.until(lambda: not lab.tmux("list-clients", "-t", f"=dev-{talker}"), "the client to leave")
    assert run.ok("status", talker) == "idle"


# JSON of every command.


@pytest.mark.gateway
def test_json_is_one_line_with_the_documented_fields(run: Commands, idle: str, failed: str) -> None:
    for words in (["list"], ["status", idle], ["last-message", idle], ["wait", idle], ["attach", idle]):
        done = run(*words, "--json")
        assert (done.code, done.err) == (0, "")
        assert done.out.count("\n") == 1
        assert done.out.endswith("\n")
    outcome: dict[str, Any] = run.json("wait", failed)
    assert set(outcome) == FIELDS["wait"]
    assert [set(turn) for turn in outcome["turns"]] == [FIELDS["turn"]]


@pytest.mark.gateway
def test_an_error_in_json_is_on_stdout(run: Commands, bare: str, dead: str, asking: str, tmp_path: Path) -> None:
    for words, code, name in (
        (["status", "nobody"], 3, "not_found"),
        (["send", dead, "x"], 5, "exited"),
        (["send", asking, "x"], 6, "waiting_for_input"),
        (["interrupt", bare], 4, "unsupported"),
        (["attach", bare], 4, "unsupported"),
        (["send", bare, "x", "--interrupt"], 4, "unsupported"),
        (["create", "--cli", "nobody"], 2, "usage"),
        (["create", "-p", str(tmp_path / "none"), "--cli", "fake"], 2, "usage"),
        (["wait"], 2, "usage"),
        (["wait", bare, "--timeout", "soon"], 2, "usage"),
        (["ask", bare, "x", "-t", "0.01"], 124, "timeout"),
    ):
        done = run(*words, "--json")
        assert (done.code, done.err) == (code, ""), words
        assert list(done.json) == ["error"]
        error = done.json["error"]
        assert set(error) == FIELDS["error"]
        assert error["code"] == name
        assert error["message"]
        assert error["data"]["next"], words
        assert json.dumps(error)


def test_the_program_on_path_is_this_one(run: Commands) -> None:
    program = shutil.which("dev-sessions", path=run.lab.env["PATH"])
    assert program is not None
    assert os.access(program, os.X_OK)
