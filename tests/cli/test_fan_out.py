"""`fan-out` and `consult`: many sessions at once, even if one fails or the command is interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import branch_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Commands
    from lab import Done

FAKE = ("--cli", "fake")


@pytest.fixture(autouse=True)
def _nothing_left(run: Commands) -> Iterator[None]:
    yield
    if ids(run):
        run("kill", *ids(run))


def ids(run: Commands) -> list[str]:
    return [row["id"] for row in run.json("list")]


@pytest.fixture
def task(tmp_path: Path) -> Any:
    """Writes a task file; returns its path."""

    def write(name: str, text: str) -> str:
        path = tmp_path / f"{name}.md"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    """Writes a plan; returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        return str(path)

    return write


def run_of(done: Done) -> str:
    found = re.search(r"--resume (\S+)", done.err)
    assert found, done
    return found[1]


def folder(run: Commands, id: str) -> Path:
    return Path(run.lab.env["DEV_SESSIONS_HOME"], "runs", id)


@contextlib.contextmanager
def led(run: Commands, *words: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A run that goes on, and its folder."""
    runs = Path(run.lab.env["DEV_SESSIONS_HOME"], "runs")
    before = {*runs.iterdir()} if runs.exists() else set()
    with run.following("fan-out", *words, *FAKE) as process:
        run.lab.until(lambda: runs.exists() and {*runs.iterdir()} - before, "the run")
        (path,) = {*runs.iterdir()} - before
        yield process, path


def prompts(run: Commands, id: str) -> int:
    return sum(entry["role"] == "user" for entry in run.json("logs", id))


@pytest.mark.gateway
def test_tasks_from_files_and_all_replies_in_their_order(run: Commands, task: Any) -> None:
    done = run("fan-out", task("slow", "[[delay: 0.2]][[reply: one]]"), task("quick", "[[reply: two]]"), *FAKE)
    assert (done.code, done.out) == (0, "## slow: completed\n\none\n\n## quick: completed\n\ntwo\n")
    assert ids(run) == []
    kept = folder(run, run_of(done)) / "branches"
    assert [(kept / f"{name}.md").read_text() for name in ("slow", "quick")] == ["one\n", "two\n"]


def test_json(run: Commands, task: Any) -> None:
    done = run("fan-out", task("a", "[[reply: one]]"), *FAKE, "--json", "--keep")
    value = done.json
    assert set(value) == {"run", "folder", "branches", "join"}
    (one,) = value["branches"]
    assert (one["name"], one["outcome"], one["reply"], one["kept"]) == ("a", "completed", "one", True)
    assert [one["session"]] == ids(run)
    assert [row["group"] for row in run.json("list")] == [value["run"]]


def test_stream_prints_each_result_at_once(run: Commands, task: Any) -> None:
    slow, quick = task("slow", "[[hold: on]][[reply: one]]"), task("quick", "[[reply: two]]")
    with run.following("fan-out", slow, quick, *FAKE, "--stream") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert (first["name"], first["reply"]) == ("quick", "two")
        (id,) = (row["id"] for row in run.json("list") if row["id"] != first["session"])
        run.release(id, "on")
        done = run.lab.finish(process)
    assert done.code == 0
    assert [json.loads(line)["name"] for line in done.out.splitlines()] == ["slow"]


def test_a_failed_branch_does_not_affect_the_others(run: Commands, task: Any) -> None:
    words = [task("bad", "[[limit]]"), task("dead", "[[die: gone]]"), task("good", "[[reply: fine]]")]
    done = run("fan-out", *words, *FAKE)
    assert done.code == 5
    assert "## good: completed\n\nfine" in done.out
    assert "## bad: failed" in done.out
    assert "used up\n\na limit of the account" in done.out
    assert "## dead: exited" in done.out
    assert len(ids(run)) == 2  # they may be inspected
    assert all(id in done.err for id in ids(run))
    again = run("fan-out", "--resume", run_of(done))
    assert (again.code, again.out) == (5, done.out)  # nothing is tried again


def test_a_question_is_answered_and_the_run_goes_on(run: Commands, task: Any) -> None:
    words = [task("asks", "[[ask: Which?|Red|Blue]][[replytool]]"), task("done", "[[reply: fine]]")]
    done = run("fan-out", *words, *FAKE)
    (id,) = ids(run)
    assert done.code == 6
    assert "## done: completed\n\nfine" in done.out
    assert f"dev-sessions respond {id} --question" in done.out
    run.ok("respond", id, "--choose", "2")
    again = run("fan-out", "--resume", run_of(done))
    assert (again.code, again.out) == (0, "## asks: completed\n\nBlue\n\n## done: completed\n\nfine\n")
    assert ids(run) == []


def test_one_branch_times_out(run: Commands, task: Any) -> None:
    words = [task("long", "[[hold: on]][[reply: late]]"), task("short", "[[reply: fine]]")]
    done = run("fan-out", *words, *FAKE, "--timeout", "1")
    (id,) = ids(run)
    assert done.code == 124
    assert "## long: timeout" in done.out
    run.release(id, "on")
    again = run("fan-out", "--resume", run_of(done), "--json")
    assert again.code == 0
    assert [one["reply"] for one in again.json["branches"]] == ["late", "fine"]


PLAN = """\
defaults:
  cli: fake
  permissions: edit
  template: task
  vars: {check: make test}
max_parallel: 2
branches:
  - name: parser
    task: "[[reply: parsed]]"
  - name: printer
    template: review
    vars:
      task: "[[reply: reviewed]]"
    permissions: plan
    trust: true
    timeout: 60
join: synthesis
"""


@pytest.mark.gateway
def test_a_plan_with_templates_and_a_join(run: Commands, plan: Any) -> None:
    done = run("fan-out", plan(PLAN), "--json", "--keep")
    assert done.code == 0, done
    value = done.json
    assert [(one["name"], one["reply"]) for one in value["branches"]] == [
        ("parser", "parsed"),
        ("printer", "reviewed"),
    ]
    sessions = [one["session"] for one in (*value["branches"], value["join"])]
    started = [run.json("inspect", id) for id in sessions]
    assert [(one["permissions"], one["trust"]) for one in started] == [("edit", None), ("plan", True), ("edit", None)]
    assert "make test" in run.json("logs", sessions[0])[0]["text"]
    joined = run.json("logs", sessions[2])[0]["text"]
    assert re.search(
        r"### parser\n\n=== ([0-9a-f]{32}) begin ===\nparsed\n=== \1 end ===\n\n### printer\n\n=== \1 beg", joined
    )


@pytest.mark.parametrize(
    ("text", "line", "why", "remedy"),
    [
        ("branches:\n\t- name: a", 2, "invalid YAML", "correct the line"),
        ("branches:\n  - name: a\n    task: b\n    modle: c", 4, "unknown key 'modle'", "model"),
        ("branches:\n  - {name: a, task: b, cli: nobody}", 2, "invalid cli 'nobody'", "claude"),
        ("branches:\n  - {name: a, task: b, template: task, vars: {x: y}}", 2, "no variable x", "templates show"),
    ],
)
def test_a_bad_plan_names_file_line_and_remedy_and_starts_nothing(
    run: Commands, plan: Any, text: str, line: int, why: str, remedy: str
) -> None:
    path = plan(text)
    done = run("fan-out", path, *FAKE)
    assert done.code == 2, done
    assert f"{path}:{line}: " in done.err
    assert why in done.err
    assert remedy in done.err.partition("next: ")[2]
    assert ids(run) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give one plan"),
        (["a.yaml", "b.md"], "give one plan"),
        (["/nonexistent.yaml"], "cannot read"),
        (["/nonexistent.md"], "cannot read"),
        (["--resume", "nope"], "no run called 'nope'"),
        (["--resume", "../x"], "no run called"),
        (["x.md", "--resume", "r"], "--resume"),
        (["x.md", "--cli", "nobody"], "invalid --cli 'nobody'"),
        (["x.md", "--path", "/nonexistent"], "/nonexistent"),
        (["x.md", "--max-parallel", "0"], "0"),
        (["x.md", "--var", "a"], "NAME=VALUE"),
    ],
)
def test_a_wrong_call(run: Commands, words: list[str], why: str) -> None:
    done = run("fan-out", *words)
    assert done.code == 2, done
    assert why in done.err
    assert "next: " in done.err


def test_two_tasks_of_the_same_name_and_an_empty_one(run: Commands, task: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.md").write_text("x")
    done = run("fan-out", task("a", "x"), str(tmp_path / "other" / "a.md"), *FAKE)
    assert (done.code, "rename the file" in done.err) == (2, True)
    done = run("fan-out", task("b", " \n"), *FAKE)
    assert (done.code, "b.md:1: the task is empty" in done.err) == (2, True)


def test_the_number_of_branches_at_once_is_limited(run: Commands, task: Any) -> None:
    words = [task(name, "[[hold: on]][[reply: x]]") for name in ("a", "b", "c")]
    with led(run, *words, "--max-parallel", "2") as (process, path):
        run.lab.until(lambda: [branch_state(path, name).get("turn") for name in "ab"] == [1, 1], "two to work")
        assert len(ids(run)) == 2
        assert branch_state(path, "c") == {}
        run.release(branch_state(path, "a")["session"], "on")
        run.lab.until(lambda: branch_state(path, "c").get("turn"), "the third")
        for id in ids(run):
            run.release(id, "on")
        assert run.lab.finish(process).code == 0


# What becomes of the command itself.


def is_begun(run: Commands, path: Path, names: list[str]) -> bool:
    return (path / "run.json").exists()  # before that there is no run, and nothing was started


def is_in_create(run: Commands, path: Path, names: list[str]) -> bool:
    return bool(ids(run))


def is_told(run: Commands, path: Path, names: list[str]) -> bool:
    return all(branch_state(path, name).get("turn") for name in names)


def is_done(run: Commands, path: Path, names: list[str]) -> bool:
    return any(branch_state(path, name).get("outcome") for name in names)


@pytest.mark.parametrize("moment", [is_begun, is_in_create, is_told, is_done])
def test_a_run_killed_at_any_moment_can_be_resumed_and_sends_nothing_twice(
    run: Commands, task: Any, moment: Any
) -> None:
    names = ["a", "b", "c"]
    words = [
        task("a", "[[reply: one]]"),
        task("b", "[[hold: on]][[reply: two]]"),
        task("c", "[[hold: on]][[reply: 3]]"),
    ]
    with led(run, *words, "--keep") as (process, path):
        run.lab.until(lambda: moment(run, path, names), moment.__name__)
        process.kill()
        process.wait()
    with run.following("fan-out", "--resume", path.name, "--json") as process:
        run.lab.until(lambda: is_told(run, path, names), "all to be told")
        for name in ("b", "c"):
            run.release(branch_state(path, name)["session"], "on")
        done = run.lab.finish(process)
    assert done.code == 0, done
    assert [one["reply"] for one in done.json["branches"]] == ["one", "two", "3"]
    assert sorted(ids(run)) == sorted(one["session"] for one in done.json["branches"])
    assert [prompts(run, id) for id in ids(run)] == [1, 1, 1]


def test_an_unwritable_record_does_not_affect_other_branches(run: Commands, task: Any) -> None:
    words = [task("a", "[[hold: on]][[reply: one]]"), task("b", "[[hold: on]][[reply: two]]")]
    with led(run, *words) as (process, path):
        run.lab.until(lambda: is_told(run, path, ["a", "b"]), "all to be told")
        shutil.rmtree(path / "branches")
        (path / "branches").write_text("in the way")
        for id in ids(run):
            run.release(id, "on")
        done = run.lab.finish(process)
    assert done.code == 5
    assert "## a: error" in done.out
    assert "## b: error" in done.out
    assert f"{path}/branches is not a folder" in done.out
    (path / "branches").unlink()
    again = run("fan-out", "--resume", path.name)
    assert (again.code, again.out) == (0, "## a: completed\n\none\n\n## b: completed\n\ntwo\n")


def test_a_run_cannot_run_in_two_processes(run: Commands, task: Any) -> None:
    with led(run, task("a", "[[hold: on]][[reply: x]]")) as (process, path):
        run.lab.until(lambda: branch_state(path, "a").get("turn"), "the turn")
        done = run("fan-out", "--resume", path.name)
        assert (done.code, "is running in another process" in done.err) == (2, True)
        run.release(ids(run)[0], "on")
        assert run.lab.finish(process).code == 0


@pytest.mark.gateway
def test_ctrl_c_once_lets_the_agents_go_on(run: Commands, task: Any) -> None:
    words = [task("a", "[[hold: on]][[reply: late]]"), task("b", "[[reply: x]]")]
    with led(run, *words, "--max-parallel", "1") as (process, path):
        run.lab.until(lambda: branch_state(path, "a").get("turn"), "the turn")
        process.send_signal(signal.SIGINT)
        done = run.lab.finish(process)
    assert done.code == 130
    assert f"dev-sessions fan-out --resume {path.name}" in done.err
    (id,) = ids(run)
    run.release(id, "on")
    assert run.ok("wait", id) == "completed"
    again = run("fan-out", "--resume", path.name)
    assert (again.code, again.out) == (0, "## a: completed\n\nlate\n\n## b: completed\n\nx\n")


def test_ctrl_c_twice_ends_the_sessions_of_the_run(run: Commands, task: Any) -> None:
    other = run.create()
    words = [task(name, "[[hold: on]][[reply: late]]") for name in ("a", "b")]
    with led(run, *words) as (process, path):
        run.lab.until(lambda: all(branch_state(path, name).get("turn") for name in "ab"), "the turns")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "Ctrl-C again" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        done = run.lab.finish(process)
    assert done.code == 130
    assert ids(run) == [other]


# Worktrees.


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    top = tmp_path / "checkout"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "file.txt").write_text("one\n")
    git(top, "init", "-q", "-b", "trunk")
    git(top, "add", ".")
    git(top, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "begin")
    return top


def git(top: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(top), *words], check=True, capture_output=True, text=True).stdout


def test_each_branch_has_its_own_worktree(run: Commands, task: Any, checkout: Path) -> None:
    """Also beside a branch that is called fan-out, and with a hook of the user's that fails in each new worktree."""
    git(checkout, "branch", "fan-out")
    hook = checkout / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\necho no tools here; exit 3\n")
    hook.chmod(0o755)
    words = [
        task("a", "[[bash: echo a >>file.txt; echo new >n.txt]][[reply: x]]"),
        task("b", "[[bash: pwd]][[replytool]]"),
    ]
    done = run("fan-out", *words, *FAKE, "--worktree", "-p", str(checkout / "sub"), "--json")
    assert done.code == 0, done
    a, b = done.json["branches"]
    assert Path(a["worktree"], "sub", "file.txt").read_text() == "one\na\n"
    assert b["reply"] == str(Path(b["worktree"], "sub"))
    assert Path(b["worktree"], "sub", "file.txt").read_text() == "one\n"
    assert "sub/file.txt | 1 +" in a["changes"]
    assert "n.txt | new" in a["changes"]
    assert (checkout / "sub" / "file.txt").read_text() == "one\n"  # nothing was merged
    assert a["branch"] == f"fan-out-{done.json['run']}-a"
    assert a["branch"] in git(checkout, "branch", "--list", "fan-out-*")
    assert a["hook"] == "no tools here"
    shown = run("fan-out", "--resume", done.json["run"])
    assert a["worktree"] in shown.err
    assert "no tools here" in shown.err
    assert "file.txt | 1 +" in shown.err


def test_doctor_reports_an_unused_worktree(run: Commands, task: Any, checkout: Path) -> None:
    done = run(
        "fan-out", task("a", "[[reply: x]]"), *FAKE, "--worktree", "-p", str(checkout / "sub"), "--keep", "--json"
    )
    (one,) = done.json["branches"]

    def told() -> bool:
        return any(one["worktree"] in found["text"] for found in run.json("doctor")["findings"])

    assert not told()  # it works in a folder below the worktree's top
    run.ok("kill", one["session"])
    assert told()


def test_a_worktree_that_cannot_be_made(run: Commands, task: Any, tmp_path: Path) -> None:
    done = run("fan-out", task("a", "x"), *FAKE, "--worktree", "-p", str(tmp_path))
    assert done.code == 2
    assert "not a git checkout" in done.err
    assert ids(run) == []


def test_a_worktree_that_git_refuses(run: Commands, task: Any, checkout: Path) -> None:
    """The remedy names the problem to fix, then the run goes on; until then nothing is left."""
    hook = checkout / ".git" / "hooks" / "post-checkout"
    hook.write_text("#!/bin/sh\nrm -r sub; echo no tools here; exit 3\n")
    hook.chmod(0o755)
    done = run("fan-out", task("a", "[[reply: x]]"), *FAKE, "--worktree", "-p", str(checkout / "sub"), "--json")
    (one,) = done.json["branches"]
    assert (done.code, one["outcome"]) == (5, "error")
    assert "no tools here" in one["error"]
    assert "git -C" in one["next"]
    again = one["next"].rpartition("then dev-sessions ")[2].split()
    assert len(git(checkout, "worktree", "list").splitlines()) == 1
    assert git(checkout, "branch", "--format=%(refname:short)") == "trunk\n"
    assert not list(Path(done.json["folder"]).glob("worktrees/*"))
    hook.unlink()
    assert "## a: completed" in run.ok(*again)


# consult, and the terminal.


@pytest.mark.gateway
def test_consult_asks_every_agent(run: Commands) -> None:
    done = run("consult", "[[reply: 42]]", "--cli", "fake", "--cli", "claude", env={"PATH": os.defpath})
    assert done.code == 5
    assert "## fake: completed\n\n42" in done.out
    assert "## claude: error" in done.out
    assert "claude" in done.out.partition("## claude")[2]
    assert ids(run) == []
    (path,) = {
        one["options"]["path"] for one in json.loads((folder(run, run_of(done)) / "run.json").read_text())["branches"]
    }
    assert Path(path) == run.lab.project  # wherever it is resumed
    assert run("consult", "x", *FAKE, *FAKE).code == 2
    assert run("consult").code == 2


def test_on_a_terminal_a_table_is_redrawn(run: Commands, task: Any) -> None:
    words = [task(name, "[[reply: x]]") for name in ("a", "b")]
    main, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))
    argv = [sys.executable, "-m", "dev_sessions", "fan-out", *words, *FAKE]
    with contextlib.closing(os.fdopen(main, "rb", buffering=0)) as screen:
        process = subprocess.Popen(
            argv, env=run.lab.env, cwd=run.lab.project, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=child
        )
        os.close(child)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux reports the end of a terminal
            while part := screen.read(65536):
                shown += part
        out, _ = process.communicate()
    assert process.returncode == 0
    assert out.decode() == "## a: completed\n\nx\n\n## b: completed\n\nx\n"
    assert b"\x1b[2A" in shown
    last = shown.rpartition(b"\x1b[2A")[2].decode()
    assert re.search(r"a +completed", last)
    assert re.search(r"b +completed", last)
