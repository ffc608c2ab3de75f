"""Claude Code's hooks and their reports: the command run by a real shell, and recorded payloads."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dev_sessions.backends.claude import hooks
from dev_sessions.model import COMPLETED, FAILED, asker
from dev_sessions.state.folder import Folder, Payload

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(folder.name.removeprefix("claude-") for folder in DATA.glob("claude-*"))
of_each_version = pytest.mark.parametrize("version", VERSIONS)


def payload(at=5.0, name="ab-12.json", **fields):
    return Payload(name, at, json.dumps(fields).encode())


def fact(**fields):
    one = payload(**fields)
    return hooks.fact(one, hooks.parse(one))


def recorded(version, name):
    found = []
    for one in json.loads((DATA / f"claude-{version}" / "hooks" / f"{name}.json").read_text()):
        written = Payload("f.json", one["at"], json.dumps(one["payload"]).encode())
        found.append(hooks.fact(written, hooks.parse(written)))
    return found


def report(folder, content, umask=None, **options):
    """Run the hook's command as Claude does: by the shell, the payload on stdin."""
    command = hooks.settings(str(folder), f"{folder}/questions")["Stop"][0]["hooks"][0]["command"]
    if umask is not None:
        command = f"umask {umask}; {command}"
    return subprocess.run(["/bin/sh", "-c", command], input=content, capture_output=True, timeout=20, **options)


# The settings


def test_each_event_has_one_command_and_nothing_else():
    settings = hooks.settings("/some/facts", "/some/questions")
    assert set(settings) == {
        *("SessionStart", "UserPromptSubmit", "PostToolUse", "PermissionRequest", "Stop", "StopFailure", "SessionEnd")
    }
    for groups in settings.values():
        assert [sorted({*group} - {"matcher"}) for group in groups] == [["hooks"]]
        (hook,) = groups[0]["hooks"]
        assert hook["type"] == "command"
        assert "/some/facts" in hook["command"]
    # What is reported of tools costs every call of them: only of those that start subagents.
    matchers = {name: groups[0]["matcher"] for name, groups in settings.items() if "matcher" in groups[0]}
    assert matchers == {"PostToolUse": "Agent"}
    assert json.loads(json.dumps(settings)) == settings


# The command


def test_a_report_becomes_one_whole_private_file(tmp_path):
    content = json.dumps({"hook_event_name": "Stop", "last_assistant_message": "ü" * 300_000}).encode()
    done = report(tmp_path, content, umask="000")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".json"
    assert not file.name.startswith(".")
    assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name",
    ["a b", "it's", 'say "hi"', "a$HOME`id`", "back\\slash", "*?[x]", "-n", "ünï 漢字", "semi;colon&", "new\nline"],
)
def test_folders_with_odd_names(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    assert report(folder, b"{}").returncode == 0
    (file,) = folder.iterdir()
    assert file.read_bytes() == b"{}"


def test_a_missing_folder_does_no_harm(tmp_path):
    done = report(tmp_path / "gone", b"{}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_no_harm_and_leaves_no_partial_file(tmp_path):
    # A limit on the size of files simulates the full disk.
    command = f"ulimit -f 1; {hooks.settings(str(tmp_path), '/nowhere')['Stop'][0]['hooks'][0]['command']}"
    done = subprocess.run(["/bin/sh", "-c", command], input=b"x" * 100_000, capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, b"")
    assert [file for file in tmp_path.iterdir() if not file.name.startswith(".")] == []


def test_many_reports_at_once_all_arrive(tmp_path):
    command = hooks.settings(str(tmp_path), "/nowhere")["Stop"][0]["hooks"][0]["command"]
    running = [subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE) for _ in range(20)]
    for number, process in enumerate(running):
        process.communicate(str(number).encode(), timeout=20)
    assert sorted(int(file.read_text()) for file in tmp_path.iterdir()) == list(range(20))


def test_an_unfinished_report_is_not_a_fact(tmp_path):
    folder = Folder(str(tmp_path))
    folder.make()
    command = hooks.settings(folder.facts_path, "/nowhere")["Stop"][0]["hooks"][0]["command"]
    with subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE) as process:
        process.stdin.write(b'{"hook_event_name": ')
        process.stdin.flush()
        assert folder.facts() == []
        process.communicate(b'"Stop"}', timeout=20)
    assert [one.content for one in folder.facts()] == [b'{"hook_event_name": "Stop"}']


# Payloads


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b'"text"', b"\xff\xfe"])
def test_other_content_gives_no_fact(content):
    one = Payload("x.json", 1.0, content)
    assert hooks.parse(one) == {}
    assert hooks.fact(one, hooks.parse(one)) is None


@pytest.mark.parametrize("event", ["PreToolUse", "Notification", "SubagentStop", "", None, 5])
def test_other_events_give_no_fact(event):
    assert fact(hook_event_name=event, prompt="x") is None


@pytest.mark.parametrize(
    ("source", "told"), [("startup", True), ("resume", True), ("compact", False), ("clear", False), ("new", False)]
)
def test_only_a_start_of_the_program_counts_as_a_start(source, told):
    found = fact(hook_event_name="SessionStart", source=source)
    assert (found is not None and found.kind == "alive" and found.at == 5.0) == told


@pytest.mark.parametrize(
    ("reason", "told"),
    [("other", "by a signal"), ("prompt_input_exit", "prompt_input_exit"), ("clear", None), ("resume", None)],
)
def test_only_an_end_of_the_program_counts_as_an_end(reason, told):
    found = fact(hook_event_name="SessionEnd", reason=reason)
    assert (found is not None) == (told is not None)
    if found:
        assert found.kind == "gone"
        assert told in found.error


_AGENT = """
import os, subprocess, sys
os.read(int(sys.argv[2]), 1)
subprocess.run(["/bin/sh", "-c", sys.argv[1]], input=b'{"hook_event_name": "SessionEnd", "reason": "other"}')
"""


@pytest.mark.parametrize("closed", [True, False])
def test_an_end_by_a_closed_terminal_says_so(tmp_path, closed):
    """The hook's parent sits at a terminal whose other end may be closed, as it is when tmux has ended."""
    command = hooks.settings(str(tmp_path / "facts"), "/nowhere")["SessionEnd"][0]["hooks"][0]["command"]
    (tmp_path / "facts").mkdir()
    (outer, inner), (waits, goes) = pty.openpty(), os.pipe()
    agent = subprocess.Popen([sys.executable, "-c", _AGENT, command, str(waits)], stdin=inner, pass_fds=(waits,))
    os.close(inner)
    if closed:
        os.close(outer)
    os.write(goes, b"x")
    assert agent.wait(20) == 0
    (payload,) = Folder(str(tmp_path)).facts()
    assert ("terminal was closed" in hooks.fact(payload, hooks.parse(payload)).error) == closed
    for descriptor in (waits, goes, *(() if closed else (outer,))):
        os.close(descriptor)


def test_a_prompt():
    found = fact(hook_event_name="UserPromptSubmit", prompt="do it ", prompt_id="p1")
    assert (found.kind, found.text, found.prompt, found.at) == ("accepted", "do it", "p1", 5.0)


def test_an_end_with_background_work():
    tasks = [{"id": "1", "type": "shell"}, {"id": "2", "type": "subagent"}, {"id": "3", "type": "workflow"}, "?"]
    found = fact(hook_event_name="Stop", prompt_id="p1", last_assistant_message="Done.", background_tasks=tasks)
    assert (found.kind, found.outcome, found.prompt) == ("ended", COMPLETED, "p1")
    assert (found.reply, found.error, found.background) == ("Done.", None, 3)
    assert (found.subagents, found.again) == (("2", "3"), False)
    assert (fact(hook_event_name="Stop").background, fact(hook_event_name="Stop").subagents) == (0, None)
    with_mate = [*tasks, {"id": "t", "type": "teammate", "status": "running"}]
    assert fact(hook_event_name="Stop", background_tasks=with_mate).subagents is None


def test_an_end_after_one_that_a_hook_has_prevented():
    assert fact(hook_event_name="Stop", stop_hook_active=True).again is True


def test_reports_of_a_subagent_are_not_the_agents_own():
    """Its failure is a StopFailure too, which names the agent's prompt (2.1.332)."""
    failure = {"hook_event_name": "StopFailure", "prompt_id": "p1", "error": "unknown"}
    assert fact(**failure, agent_id="a1") is None
    assert fact(**failure).kind == "ended"
    assert fact(hook_event_name="PermissionRequest", agent_id="a1", tool_name="Bash").kind == "asked"


def test_a_subagent_that_starts_in_the_background():
    report = {"hook_event_name": "PostToolUse", "prompt_id": "p1", "tool_name": "Agent"}
    found = fact(**report, tool_response={"isAsync": True, "status": "async_launched", "agentId": "a1"})
    assert (found.kind, found.prompt, found.task) == ("launched", "p1", "a1")
    assert fact(**report, tool_response={"status": "completed", "agentId": "a1"}) is None
    assert fact(**report, tool_response="?") is None
    assert fact(**report, agent_id="a1", tool_response={"status": "async_launched", "agentId": "a2"}) is None


def test_a_prompt_that_reports_the_end_of_a_task():
    text = "<task-notification>\n<task-id>a1</task-id>\n<status>completed</status>\n</task-notification>"
    assert fact(hook_event_name="UserPromptSubmit", prompt=text).task == "a1"
    assert fact(hook_event_name="UserPromptSubmit", prompt=f"See: {text}").task is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"last_assistant_message": "API Error: 400", "error_details": "long", "error": "unknown"}, "API Error: 400"),
        ({"error_details": "long", "error": "unknown"}, "long"),
        ({"error": "rate_limit"}, "rate_limit"),
        ({}, "the model could not be reached"),
    ],
)
def test_a_failure_shows_the_most_detailed_error(fields, error):
    found = fact(hook_event_name="StopFailure", prompt_id="p1", **fields)
    assert (found.kind, found.outcome, found.error, found.reply) == ("ended", FAILED, error, None)


def asked(tool, given):
    return fact(hook_event_name="PermissionRequest", tool_name=tool, tool_input=given).question


def test_a_question_with_options():
    questions = [
        {"question": "Which colour?", "options": [{"label": "Red", "description": "x"}, {"label": "Blue"}]},
        {"question": "Which size?", "options": [{"label": "Small"}]},
    ]
    found = asked("AskUserQuestion", {"questions": questions})
    assert (found.kind, found.text) == ("question", "Which colour?\nWhich size?")
    assert found.options == ("Red", "Blue", "Small")
    assert (found.id, found.since) == ("ab-12", 5.0)


@pytest.mark.parametrize(
    ("tool", "given", "kind", "text"),
    [
        ("Bash", {"command": "rm -r x", "description": "y"}, "permission", "Bash: rm -r x"),
        ("Write", {"file_path": "/a/b", "content": "c"}, "permission", "Write: /a/b\ncontent: c"),
        ("WebFetch", {"url": "http://x", "prompt": "y"}, "permission", "WebFetch: http://x\nprompt: y"),
        ("mcp__x__y", {"z": 1}, "permission", 'mcp__x__y: {"z": 1}'),
        ("Bash", None, "permission", "Bash: {}"),
        ("ExitPlanMode", {"plan": "First A."}, "plan", "First A."),
        ("ExitPlanMode", {}, "plan", "The agent has a plan and asks to go on."),
        ("AskUserQuestion", {"questions": None}, "question", ""),
        ("AskUserQuestion", {"questions": [None, {"question": "Q", "options": [5]}]}, "question", "Q"),
    ],
)
def test_the_text_of_a_question(tool, given, kind, text):
    found = asked(tool, given)
    assert (found.kind, found.text) == (kind, text)


def test_the_agent_that_asks():
    by = {"agent_id": "a1", "agent_type": "Explore"}
    found = fact(hook_event_name="PermissionRequest", tool_name="Bash", tool_input={}, **by).question
    assert found.agent == ("a1", "Explore", "")
    assert found.to_json()["agent"] == {"id": "a1", "type": "Explore", "task": ""}
    assert asker(found.to_json()) == " of its subagent Explore"
    assert asker({"agent": {"id": "a1", "type": "", "task": "look"}}) == " of its subagent a1: look"
    assert asked("Bash", {}).to_json()["agent"] is None
    assert asker(asked("Bash", {}).to_json()) == asker({}) == ""


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("do it", "do it"),
        ("do it \n", "do it"),
        ("  indented", "  indented"),
        ('\n\n<pasted_content id="0a1f">\na\nb\n</pasted_content id="0a1f">\n', "a\nb"),
        ('Do this: \n\n<pasted_content id="0a1f">\na\n</pasted_content id="0a1f">\n', "Do this: a"),
        ('do\n\n\n<pasted_content id="0a1f">\nultraplan\n</pasted_content id="0a1f">\n\nend', "do\nultraplan\nend"),
        ("<pasted_content>by hand</pasted_content>", "<pasted_content>by hand</pasted_content>"),
    ],
)
def test_plain(text, plain):
    assert hooks.plain(text) == plain


# Recorded conversations


KINDS = {
    "plain": ["alive", "accepted", "ended"],
    "tool": ["alive", "accepted", "ended"],
    "joined": ["alive", "accepted", "ended"],
    "followed": ["alive", "accepted", "ended", "accepted", "accepted", "ended"],
    "interrupted": ["alive", "accepted"],
    "interrupted-before-output": ["alive", "accepted"],
    "failed": ["alive", "accepted", "ended", "accepted", "ended"],
    "background": ["alive", "accepted", "ended", "accepted", "ended"],
    "question": ["alive", "accepted", "asked", "ended"],
    "permission": ["alive", "accepted", "asked", "ended", "accepted", "asked", "ended"],
    "plan": ["alive", "accepted", "asked"],
}
# It reports a prompt that it queues at once, and not again when it comes to it.
AT_ONCE = {
    "joined": ["alive", "accepted", "accepted", "ended"],
    "followed": ["alive", "accepted", "accepted", "accepted", "ended", "ended"],
}


@of_each_version
@pytest.mark.parametrize("name", KINDS)
def test_recorded(version, name):
    facts = recorded(version, name)
    assert [fact.kind for fact in facts] == {**KINDS, **(AT_ONCE if version == "2.1.330" else {})}[name]
    assert all(fact.prompt for fact in facts if fact.kind in ("accepted", "ended"))


@of_each_version
def test_recorded_replies_failures_and_background(version):
    assert [fact.reply for fact in recorded(version, "followed") if fact.kind == "ended"] == ["One.", "Three."]
    assert [fact.background for fact in recorded(version, "background") if fact.kind == "ended"] == [1, 0]
    failed = recorded(version, "failed")[2]
    assert (failed.outcome, failed.error) == (FAILED, "API Error: 400 scripted error 400")


@of_each_version
def test_recorded_questions(version):
    question = recorded(version, "question")[2].question
    assert (question.kind, question.text, question.options) == ("question", "Which colour?", ("Red", "Blue"))
    bash, write = (fact.question for fact in recorded(version, "permission") if fact.kind == "asked")
    assert (bash.kind, bash.text) == ("permission", "Bash: touch made && ls")
    assert write.text.startswith("Write: ")
    assert recorded(version, "plan")[2].question.kind == "plan"


def test_a_message_that_joined_has_the_prompt_of_the_turn_it_joined():
    first, second = (fact.prompt for fact in recorded("2.1.330", "joined") if fact.kind == "accepted")
    assert first == second


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"operation": "enqueue", "content": "do it "}, "do it"),
        ({"operation": "remove", "content": "do it"}, None),
        ({"operation": "dequeue"}, None),
        ({"operation": "enqueue", "content": [1]}, None),
        ({"operation": "enqueue"}, None),
    ],
)
def test_a_line_on_the_queue_replaces_the_missing_report(fields, told):
    found = fact(type="queue-operation", **fields)
    assert (found and (found.kind, found.text, found.held)) == (told and ("accepted", told, True))


def test_settings_name_none_of_our_files():
    # The hooks outlive our upgrade or removal: nothing in them is a program of ours.
    assert os.path.dirname(hooks.__file__) not in json.dumps(hooks.settings("/some/facts", "/some/questions"))


def test_a_question_may_stay_open_for_a_week_at_least():
    (hook,) = hooks.settings("/some/facts", "/some/questions")["PermissionRequest"][0]["hooks"]
    assert 7 * 86_400 <= hook["timeout"] < 2**31 / 1000


@pytest.fixture
def waiting(tmp_path, request):
    """A permission hook that waits, as Claude runs it, on this report: its process, its pipe, and all commands."""
    facts, questions = tmp_path / "it's facts", tmp_path / "the questions"
    facts.mkdir()
    questions.mkdir()
    settings = hooks.settings(str(facts), str(questions))
    commands = {name: groups[0]["hooks"][0]["command"] for name, groups in settings.items()}
    with subprocess.Popen(
        ["/bin/sh", "-c", commands["PermissionRequest"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        report = getattr(request, "param", {})
        process.stdin.write(json.dumps(report, separators=(",", ":")).encode())
        process.stdin.close()
        while not (there := [file for file in facts.iterdir() if not file.name.startswith(".")]):
            assert process.poll() is None
        yield process, questions / there[0].stem, commands
        process.kill()


def woken(pipe, word):
    descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(descriptor, word)
    os.close(descriptor)


def test_a_question_gets_the_answer_beside_its_pipe(waiting):
    process, pipe, _ = waiting
    pipe.with_name(f"{pipe.name}.json").write_text('{"yes": 1}')
    os.close(
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    )  # a process that opens the pipe and dies does not end the waiting
    assert process.poll() is None
    woken(pipe, b"answered\n")
    assert process.stdout.read() == b'{"yes": 1}'
    assert process.wait(20) == 0
    assert not pipe.exists()


OWN = {"tool_name": "Write", "tool_input": {"content": 'a text with "agent_id":"x" in it'}}
OF_A_SUBAGENT = {"agent_id": "a1", "agent_type": "Explore", "tool_name": "Write", "tool_input": {}}
RUNNING = {"background_tasks": [{"id": "a1", "type": "subagent"}], "last_assistant_message": '"background_tasks":[]'}


@pytest.mark.parametrize(
    ("waiting", "event", "report", "ends"),
    [
        (OWN, "Stop", RUNNING, True),
        (OWN, "Stop", {}, True),
        (OF_A_SUBAGENT, "Stop", RUNNING, False),
        (OF_A_SUBAGENT, "StopFailure", {}, False),
        (OF_A_SUBAGENT, "Stop", {"background_tasks": []}, True),
        (OF_A_SUBAGENT, "SessionEnd", {}, True),
    ],
    indirect=["waiting"],
)
def test_the_end_of_a_turn_releases_its_open_questions_but_not_a_subagents(waiting, event, report, ends):
    process, pipe, commands = waiting
    pipe.with_name(f"{pipe.name}.json").write_text('{"yes": 1}')
    content = json.dumps(report, separators=(",", ":")).encode()
    subprocess.run(["/bin/sh", "-c", commands[event]], input=content, timeout=20, check=True)
    if ends:
        assert process.stdout.read() == b""
        assert process.wait(20) == 0
        return
    assert process.poll() is None
    woken(pipe, b"answered\n")
    assert process.stdout.read() == b'{"yes": 1}'


def test_the_pipe_of_a_killed_hook_has_no_reader(waiting):
    process, pipe, commands = waiting
    process.kill()
    process.wait(20)
    with pytest.raises(OSError, match="No such device"):
        woken(pipe, b"answered\n")
    subprocess.run(["/bin/sh", "-c", commands["Stop"]], input=b"{}", timeout=20, check=True)


# Who reports


def run_as(pane, event, facts, content=b"{}"):
    """Run the hook of an event in a process whose TMUX_PANE is `pane` (None: not set); the names of the reports."""
    command = hooks.settings(str(facts), f"{facts}/questions")[event][0]["hooks"][0]["command"]
    env = {name: value for name, value in os.environ.items() if name != "TMUX_PANE"}
    env |= {} if pane is None else {"TMUX_PANE": pane}
    done = subprocess.run(["/bin/sh", "-c", command], input=content, capture_output=True, timeout=20, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    return {file.name for file in facts.iterdir() if file.suffix == ".json"}


# In a container the variable is not set, and a teammate's pane there may have any number; outside, ours may be anyone.
@pytest.mark.parametrize(("own", "other"), [("%0", "%1"), ("%1", "%10"), ("%7", None), (None, "%0")])
def test_only_the_process_that_reported_first_counts(tmp_path, own, other):
    assert len(run_as(own, "SessionStart", tmp_path)) == 1
    for event in hooks.EVENTS:
        large = b'"' + b"x" * 200_000 + b'"'  # all of it is read, lest Claude fails to write it
        assert len(run_as(other, event, tmp_path, large)) == 1, event
    for count, event in enumerate(("UserPromptSubmit", "SessionStart", "Stop", "StopFailure", "SessionEnd"), start=2):
        assert len(run_as(own, event, tmp_path)) == count, event


def test_after_a_new_start_another_pane_counts(tmp_path):
    run_as("%0", "SessionStart", tmp_path)
    hooks.forget_pane(str(tmp_path))
    assert len(run_as("%4", "UserPromptSubmit", tmp_path)) == 2  # a dialog before the start, a start not reported
    assert len(run_as("%4", "SessionStart", tmp_path)) == 3
    assert len(run_as("%0", "Stop", tmp_path)) == 3


def test_a_process_that_does_not_count_releases_no_question(waiting):
    process, pipe, commands = waiting
    (pipe.parents[1] / "it's facts" / ".pane").write_text("%0\n")
    subprocess.run(["/bin/sh", "-c", commands["Stop"]], input=b"{}", timeout=20, env={**os.environ, "TMUX_PANE": "%1"})
    assert process.poll() is None
    assert pipe.exists()
