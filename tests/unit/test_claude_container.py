"""What a Claude in a container may have put into the folders that it can write to, and what of the host it must not
reach by that: no link is followed there, and nothing but regular files is read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dev_sessions.backends.base import Launch, Session
from dev_sessions.backends.claude import container, conversation, hooks, observe, paths, questions, transcript
from dev_sessions.errors import LaunchFailed
from dev_sessions.model import Fact
from dev_sessions.state.folder import Folder
from dev_sessions.system import files

UUID = "00000000-0000-4000-8000-000000000000"
LINE = json.dumps({"type": "user", "timestamp": "2026-01-01T00:00:00.000Z", "message": {"content": "x"}}) + "\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Files of the host that are none of the container's."""
    folder = tmp_path / "host"
    (folder / "-p").mkdir(parents=True)
    (folder / "-p" / f"{UUID}.jsonl").write_text(LINE)
    (folder / "1.json").write_text('{"pid": 1, "status": "busy", "statusUpdatedAt": 1000}')
    (folder / "plan.md").write_text("secret")
    return folder


@pytest.fixture
def session(tmp_path: Path) -> Session:
    key = "fizz-top-0123abcd"
    folder = Folder(str(tmp_path / "state" / "sessions" / key))
    folder.make()
    config = paths.container_config(folder)
    record = {"id": "fizz-top", "key": key, "mode": "docker", "path": "/", "backend": {"config": config, "uuid": UUID}}
    return Session(record, folder, {"PATH": os.defpath})


@pytest.fixture
def config(session: Session) -> Path:
    path = Path(paths.container_config(session.folder))
    (path / "projects" / "-p").mkdir(parents=True)
    return path


def report(session: Session, name: str, **fields: Any) -> None:
    Path(session.folder.facts_path, name).write_text(json.dumps(fields))


def test_reports_that_are_links_pipes_or_folders_are_ignored(session: Session, host: Path) -> None:
    facts = Path(session.folder.facts_path)
    (facts / "link.json").symlink_to(host / "plan.md")
    (facts / "lost.json").symlink_to(host / "nothing")
    (facts / "folder.json").mkdir()
    os.mkfifo(facts / "pipe.json")
    report(session, "true.json", hook_event_name="Stop")
    assert [payload.name for payload in session.folder.facts()] == ["true.json"]
    session.folder.compact(0, 1e12)
    assert b"secret" not in (Path(session.folder.path) / "past.jsonl").read_bytes()
    assert (host / "plan.md").read_text() == "secret"


def test_a_transcript_is_read_only_in_the_containers_own_folder(session: Session, config: Path, host: Path) -> None:
    own, foreign = config / "projects" / "-p" / f"{UUID}.jsonl", host / "-p" / f"{UUID}.jsonl"
    for told in (foreign, "/dev/zero", f"{config}/projects/../../../x/{UUID}.jsonl", own.with_name("-p.jsonl")):
        report(session, "a.json", hook_event_name="Stop", transcript_path=str(told))
        assert transcript.find(session, hooks.reports(session)) is None
    report(session, "a.json", hook_event_name="Stop", transcript_path=str(own))
    own.write_text(LINE)
    (found,) = (fields["transcript_path"] for _, fields in hooks.reports(session))
    assert len(transcript.since(found, 0.0)) == 1
    own.unlink()
    own.symlink_to(foreign)
    assert transcript.since(found, 0.0) == []
    own.unlink()
    os.mkfifo(own)
    assert transcript.since(found, 0.0) == []
    own.unlink()
    own.parent.rmdir()
    own.parent.symlink_to(foreign.parent)
    assert own.exists()
    assert transcript.since(found, 0.0) == []
    assert conversation.replies(session, 5, False) == []
    # Natively a user may have linked any of these.
    assert len(transcript.since(str(host / "link.jsonl"), 0.0)) == 0
    (host / "link.jsonl").symlink_to(foreign)
    assert len(transcript.since(str(host / "link.jsonl"), 0.0)) == 1


def test_a_status_is_read_only_in_its_own_folder(session: Session, config: Path, host: Path) -> None:
    (config / "sessions").symlink_to(host)
    assert observe.status_file(session, (1, "1")) == {}
    (config / "sessions").unlink()
    (config / "sessions").mkdir()
    (config / "sessions" / "1.json").symlink_to(host / "1.json")
    assert observe.status_file(session, (1, "1")) == {}
    (config / "sessions" / "2.json").write_text('{"pid": 2, "status": "idle"}')
    assert observe.status_file(session, (1, "1"))["status"] == "idle"


@pytest.mark.parametrize("place", ["host", "link", "own"])
def test_a_plan_is_read_only_in_the_containers_own_folder(config: Path, host: Path, place: str) -> None:
    path = config / "projects" / "-p" / f"{UUID}.jsonl"
    own = config / "plan.md"
    if place == "link":
        own.symlink_to(host / "plan.md")
    else:
        own.write_text("the plan")
    named = str(host / "plan.md" if place == "host" else own)
    path.write_text(json.dumps({"attachment": {"planFilePath": named}}) + "\n")
    asked = Fact("asked", 2.0, question=hooks.asked("q", "ExitPlanMode", {}, 2.0))
    question = questions.with_plan([asked], str(path))[0].question
    assert question
    assert question.text == ("the plan" if place == "own" else hooks.PLAN_UNKNOWN)


def prepared(session: Session, project: Path, **environment: str) -> dict[str, str]:
    home = os.path.dirname(os.path.dirname(session.folder.path))
    given = {"HOME": str(project), "DEV_SESSIONS_HOME": home, **environment}
    launch = Launch(session, str(project), "full", None, given, True, 9.0, print, lambda private: None, print)
    return dict(container.prepared(launch).environment)


def test_a_start_removes_only_the_containers_own_files(session: Session, config: Path, host: Path) -> None:
    (config / "sessions").symlink_to(host)
    (config / ".claude.json").symlink_to(host / "new.json")
    prepared(session, host)
    assert sorted(os.listdir(host)) == ["-p", "1.json", "plan.md"]
    assert not (config / "sessions").is_symlink()
    assert os.stat(config / "sessions").st_mode & 0o777 == 0o700
    (config / "sessions" / "1.json").touch()
    (config / "sessions" / "folder").mkdir()
    prepared(session, host)
    assert os.listdir(config / "sessions") == ["folder"]


def test_nothing_is_mounted_that_the_host_runs_or_relies_on(session: Session, host: Path) -> None:
    lines = prepared(session, host)["DEV_SESSIONS_MOUNTS"].splitlines()
    mounted = {line.split(":")[1]: line.split(":")[2:] for line in lines}
    folder = session.folder
    assert all(line.split(":")[0] == line.split(":")[1] for line in lines)
    writable = {folder.facts_path, f"{folder.agent_path}/claude", f"{folder.agent_path}/questions", str(host)}
    assert {path for path, mode in mounted.items() if mode == []} == writable
    read_only = {folder.messages_path, f"{folder.agent_path}/settings.json"}
    assert {path for path, mode in mounted.items() if mode == ["ro"]} == read_only


def test_programs_of_the_project_are_not_run_on_the_host(session: Session, host: Path) -> None:
    venv, link = host / "venv" / "bin", host.parent / "link"
    venv.mkdir(parents=True)
    link.symlink_to(venv)
    places = [str(venv), "/usr/bin", "", "bin", str(link), str(host), "/bin"]
    assert prepared(session, host, PATH=":".join(places))["PATH"] == "/usr/bin:/bin"


@pytest.mark.parametrize(
    ("program", "home", "path", "why"),
    [
        ("p/clauded", "state", "p", "is in the project"),
        ("p/link", "state", "p", "is in the project"),
        ("to-p", "state", "p", "is in the project"),
        ("clauded", "p/.state", "p", "not apart"),
        ("clauded", "p", "p", "not apart"),
        ("clauded", "state", "state/sessions/a-0123abcd", "not apart"),
        ("clauded", "state", "p:/etc", "cannot be mounted"),
        ("clauded", "state", "p\n/etc", "cannot be mounted"),
        ("clauded", "state", "state/runs/a/worktrees/b", None),
        ("clauded", "state", "p", None),
    ],
)
def test_a_project_with_files_that_the_host_runs_is_refused(
    tmp_path: Path, program: str, home: str, path: str, why: str | None
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "clauded").touch()
    (tmp_path / "p" / "clauded").touch()
    (tmp_path / "p" / "link").symlink_to(tmp_path / "clauded")
    (tmp_path / "to-p").symlink_to(tmp_path / "p" / "clauded")
    environment = {"DEV_SESSIONS_HOME": str(tmp_path / home)}
    if why is None:
        container.refuse_shared(str(tmp_path / program), environment, str(tmp_path / path))
        return
    with pytest.raises(LaunchFailed, match=why) as caught:
        container.refuse_shared(str(tmp_path / program), environment, str(tmp_path / path))
    assert caught.value.data["next"]


def test_a_regular_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)
    assert files.read_regular(str(path)) == b"x" * 200_000
    os.truncate(path, 65 * 1024 * 1024)
    assert files.read_regular(str(path)) is None
    assert files.read_regular(str(tmp_path / "missing")) is None
    assert files.read_regular("/dev/zero") is None
    assert files.read_regular("a\0b") is None
