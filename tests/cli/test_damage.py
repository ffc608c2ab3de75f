"""A state folder that was damaged, filled up or locked: a word of what to do next, the rest works, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Done, Lab
from small_disk import PAGE, SmallDisk
from soak import only_in_soak


class Place:
    """A state folder of its own in the lab, with a session that is to be damaged and one that is not."""

    def __init__(self, run: Any, number: int) -> None:
        self._run, self.number = run, number
        self.state = run.lab.path / f"state-{number}"
        self.hurt, self.sound = self.create("hurt"), self.create("sound")
        self.ok("ask", self.hurt, "[[reply: one]]")

    def create(self, name: str) -> str:
        # One tmux server serves all these state folders, and knows a session by its id.
        return self.ok("create", "--cli", "fake", "-q", "--id", f"{name}-{self.number}")

    def __call__(self, *argv: str) -> Done:
        done: Done = self._run(*argv, env={"DEV_SESSIONS_HOME": str(self.state)})
        plain(argv, done)
        return done

    def ok(self, *argv: str) -> str:
        done = self(*argv)
        assert done.code == 0, (argv, done)
        return done.out.rstrip("\n")

    def listed(self) -> dict[str, str]:
        return {row["id"]: row["status"] for row in json.loads(self.ok("list", "--json"))}

    def folder(self, id: str) -> Path:
        (found,) = self.state.glob(f"sessions/{id}-????????")
        return Path(found)

    def archived(self, id: str) -> list[Path]:
        return list(self.state.glob(f"archive/{id}-????????"))


def plain(argv: tuple[str, ...], done: Done) -> None:
    """Check that the outcome is a known error with its remedy."""
    assert "unexpected" not in done.err, (argv, done)
    assert "Traceback" not in done.err, (argv, done)
    if done.err.startswith("error: "):
        assert done.err.splitlines()[-1].startswith("next: "), (argv, done)


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return iter(range(1, 1000))


@pytest.fixture
def place(run: Any, numbers: Iterator[int]) -> Iterator[Place]:
    made = Place(run, next(numbers))
    yield made
    made.ok("kill", made.sound)


def unharmed(place: Place) -> None:
    """The other session is as it was, and a new one can be made."""
    assert place.listed()[place.sound] == "idle"
    assert place.ok("ask", place.sound, "[[reply: here]]") == "here"


def ended(place: Place) -> None:
    """The damaged session can be ended, and leaves no process."""
    place.ok("kill", place.hurt)
    assert place.hurt not in place.listed()
    mark = f"DEV_SESSIONS_ID={place.hurt}".encode()
    for pid in place._run.lab.processes():
        try:
            assert mark not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue


def every_command(place: Place) -> None:
    id = place.hurt
    for argv in (
        ("status", id),
        ("wait", id, "--timeout", "0.1"),
        ("last-message", id),
        ("interrupt", id),
        ("send", id, "[[reply: two]]"),
        ("send", id, "[[reply: three]]", "--queue"),
        ("create", "--cli", "fake", "--id", id),
    ):
        place(*argv)


def few(cases: Any, *names: str) -> list[Any]:
    """The cases, of which all but those of these names are for `make soak` alone."""
    values = cases if isinstance(cases, dict) else {name: name for name in cases}
    return [pytest.param(one, id=id, marks=() if id in names else only_in_soak) for id, one in values.items()]


PARTS = ("record.json", "messages", "messages/0001/message.json", "messages/0001/text.md", "messages/0001")
PARTS += ("messages/0001/attempt.json", "messages/0001/receipt.json", "facts", "agent", "process", ".")


@pytest.mark.parametrize("part", few(PARTS, "record.json", "messages/0001/message.json", "facts", "process", "."))
def test_a_half_deleted_folder(place: Place, part: str) -> None:
    path = place.folder(place.hurt) / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    unharmed(place)
    assert place.hurt in place.listed()
    every_command(place)
    unharmed(place)
    ended(place)


WRONG = {
    "cut": b'{"request_id": "x", "crea',
    "empty": b"",
    "garbage": b"\0\xff\xfe",
    "a list": b"[1]",
    "null": b"null",
    "words for numbers": b'{"created": "x", "at": "x", "pid": "x", "wire": 5, "queued": "x", "receipt": 5}',
    "nothing for numbers": b'{"created": null, "at": null, "pid": null, "wire": null, "receipt": null}',
    "deep": b"[" * 100_000,
}
FILES = ("record.json", "messages/0001/message.json", "messages/0001/attempt.json", "messages/0001/receipt.json")
FILES += ("messages/0001/unconfirmed.json", "messages/0001/text.md", "process", "notice.json", "courier.json")


@pytest.mark.parametrize("content", few(WRONG, "cut", "garbage", "null", "words for numbers"))
def test_files_with_any_content(place: Place, content: bytes) -> None:
    for file in FILES:
        path = place.folder(place.hurt) / file
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        assert place.listed()[place.sound] == "idle", file
        place("status", place.hurt)
        place("wait", place.hurt, "--timeout", "0.1")
        path.unlink() if before is None else path.write_bytes(before)
    assert place.listed()[place.hurt] == "idle"
    for file in FILES:
        (place.folder(place.hurt) / file).write_bytes(content)
    every_command(place)
    unharmed(place)
    ended(place)


def test_a_folder_instead_of_each_file(place: Place) -> None:
    for file in FILES:
        path = place.folder(place.hurt) / file
        path.unlink(missing_ok=True)
        path.mkdir()
    place("status", place.hurt)
    unharmed(place)
    ended(place)


def test_a_folder_instead_of_the_registry_file(place: Place) -> None:
    registry = place.state / "sessions.json"
    registry.unlink()
    registry.mkdir()
    (registry / "mine").touch()
    done = place("list")
    assert done.code == 0
    assert "damaged" in done.err
    place.ok("kill", place.hurt)
    assert place.listed() == {place.sound: "idle"}
    assert [path.name for path in place.state.glob("sessions.json.damaged-*/*")] == ["mine"]


def test_what_a_rebuild_cannot_know_is_reported(place: Place) -> None:
    folder = place.folder(place.hurt)
    (folder / "record.json").write_bytes(b'{"id": ')
    (place.state / "sessions.json").write_bytes(b"")
    done = place("list")
    assert done.code == 0
    assert place.sound in done.out
    assert str(folder) in done.err
    assert f"tmux attach -t dev-{place.hurt}" in done.err
    place.ok("kill", place.create("another"))
    assert (folder / "messages" / "0001" / "text.md").read_text() == "[[reply: one]]"
    unharmed(place)


def test_leftovers_of_dead_writers_do_no_harm(place: Place) -> None:
    folder = place.folder(place.hurt)
    (place.state / "sessions.json.77.0a1b2c3d.tmp").write_bytes(b"{")
    (folder / "messages" / ".0a1b2c3d4e5f6071").mkdir()
    (folder / "messages" / ".0a1b2c3d4e5f6071" / "text.md").touch()
    (folder / "messages" / "0001" / "receipt.json.77.0a1b2c3d.tmp").write_bytes(b"{")
    (folder / "facts" / ".7d9f7a1e-7f5c-4c1e-9a51-6d2f2ff3f3e0").write_bytes(b"{")
    (place.state / "sessions" / "teemo-top-0a1b2c3d").mkdir()
    (place.state / "sessions" / "teemo-top-0a1b2c3d" / "record.json.77.0a1b2c3d.tmp").write_bytes(b"{")
    assert place.ok("ask", place.hurt, "[[reply: two]]") == "two"
    assert place.ok("status", place.hurt) == "idle"
    assert sorted(path.name for path in (folder / "messages").iterdir()) == ["0001", "0002"]
    place.ok("kill", place.create("another"))
    assert not list(place.state.glob("*.tmp"))
    assert not (place.state / "sessions" / "teemo-top-0a1b2c3d").exists()
    ended(place)


# A clock that was set back: what was written before is of the future.


def later(folder: Path, seconds: float) -> None:
    """Make everything that a session has written that much later."""

    def moved(value: Any) -> Any:
        names = ("at", "since", "created", "attempted", "created_at", "ready_at")
        return {name: one + seconds if name in names and one else one for name, one in value.items()}

    for path in [*folder.glob("**/*.json"), *folder.glob("**/*.jsonl")]:
        text = path.read_text()
        if not path.is_relative_to(folder / "agent" / "inbox"):
            path.write_text("".join(json.dumps(moved(json.loads(line))) + "\n" for line in text.splitlines()))
        at = time.time() + seconds
        os.utime(path, (at, at))


def test_a_clock_set_back_between_two_turns(place: Place) -> None:
    later(place.folder(place.hurt), 3600)
    assert place.listed()[place.hurt] == "idle"
    assert place.ok("wait", place.hurt, "--timeout", "5") == "completed"
    assert place.ok("ask", place.hurt, "[[reply: two]]", "--timeout", "20") == "two"
    assert place.ok("ask", place.hurt, "[[reply: two]]", "--timeout", "20") == "two"
    assert place.ok("wait", place.hurt, "--turn", "1", "--timeout", "5") == "completed"
    assert place.listed()[place.hurt] == "idle"
    ended(place)


def test_a_clock_set_back_during_a_turn(place: Place) -> None:
    place.ok("send", place.hurt, "[[hold: a]][[reply: two]]")
    later(place.folder(place.hurt), 3600)
    assert place.listed()[place.hurt] == "working"
    (place.folder(place.hurt) / "agent" / "release" / "a").touch()
    assert place.ok("wait", place.hurt, "--timeout", "20") == "completed"
    assert place.ok("last-message", place.hurt) == "two"
    ended(place)


def test_a_clock_set_back_after_a_sender_died(place: Place) -> None:
    message = place.folder(place.hurt) / "messages" / "0002"
    message.mkdir()
    (message / "text.md").write_text("lost")
    claim = {"request_id": "x", "created": time.time() + 3600, "via": "terminal", "wire": "lost", "queued": False}
    (message / "message.json").write_text(json.dumps(claim))
    done = place("wait", place.hurt, "--timeout", "5")
    assert (done.code, done.out) == (5, "failed\n")
    assert place.ok("ask", place.hurt, "[[reply: three]]", "--timeout", "20") == "three"
    ended(place)


# A full disk, and one that is read-only.


class DiskLab(Lab):
    """A lab whose state folder is on a small disk of its own."""

    def __init__(self) -> None:
        super().__init__(name="disk")
        self.state.mkdir()
        self.disk = SmallDisk(self.state, 400 * PAGE)

    def argv(self, *args: str) -> list[str]:
        return self.disk.argv(self.project, super().argv(*args))

    def close(self) -> None:
        super().close()
        self.disk.close()

    def __call__(self, *argv: str) -> Done:
        done = self.run(*argv)
        plain(argv, done)
        return done

    def keys(self) -> list[str]:  # type: ignore[override]
        return sorted(path.name for path in self.disk.path.glob("sessions/*"))

    def accepted(self, id: str) -> list[str]:
        facts = self.disk.path.glob(f"sessions/{id}-*/facts/*-accepted.json")
        return sorted(json.loads(path.read_text())["text"] for path in facts)


@pytest.fixture(scope="module")
def disk() -> Iterator[DiskLab]:
    with DiskLab() as made:
        yield made


def reads_work(disk: DiskLab, id: str) -> None:
    assert disk.run("status", id) == (0, "idle\n", "")
    assert disk.run("last-message", id) == (0, "one\n", "")
    assert disk.run("wait", id, "--timeout", "5") == (0, "completed\n", "")
    assert [row["status"] for row in disk.run("list", "--json").json if row["id"] == id] == ["idle"]


def refused(done: Done, *words: str) -> None:
    assert (done.code, done.out) == (1, ""), done
    assert all(word in done.err for word in words), done


def test_a_full_disk(disk: DiskLab) -> None:
    id = disk.create("--cli", "fake")
    assert disk.ok("ask", id, "[[reply: one]]") == "one"
    before = disk.keys()
    disk.disk.fill()
    full = ("the disk that holds", "is full", "next: free some space")
    reads_work(disk, id)
    for more in ((), ("--queue",)):
        refused(disk("send", id, "[[reply: two]]", "--request-id", "r-2", *more), *full)
    refused(disk("create", "--cli", "fake"), *full)
    assert disk.keys() == before
    reads_work(disk, id)
    assert len(disk.accepted(id)) == 1
    # Some room again: the same commands work, and nothing was done twice.
    disk.disk.empty()
    disk.ok("send", id, "[[reply: two]]", "--request-id", "r-2")
    disk.ok("wait", id, "--timeout", "20")
    assert disk.accepted(id) == ["[[reply: one]]", "[[reply: two]]"]
    disk.disk.fill()
    done = disk("kill", id)
    disk.disk.empty()
    if done.code:
        refused(done, *full)
        disk.ok("kill", id)
    assert (disk.run("list", "--json").json, disk.keys()) == ([], [])


@pytest.mark.parametrize("pages", [1, 2, 3, 4, 5, 7])
def test_a_disk_that_fills_up_during_a_command(disk: DiskLab, pages: int) -> None:
    disk.disk.fill(pages_left=pages)
    done = disk.run("create", "--cli", "fake", "-q")
    disk.disk.empty()
    if done.code:
        assert "unexpected" not in done.err  # a traceback may be the agent's own: its last words
        refused(done, "next: ")
        assert (disk.run("list", "--json").json, disk.keys()) == ([], [])
        assert not list(disk.disk.path.glob("**/start.sh"))
        return
    disk.ok("kill", done.out.strip())


def test_a_read_only_state_folder(disk: DiskLab) -> None:
    id = disk.create("--cli", "fake")
    assert disk.ok("ask", id, "[[reply: one]]") == "one"
    before = disk.keys()
    disk.disk.read_only(True)
    try:
        reads_work(disk, id)
        for argv in (["send", id, "x"], ["send", id, "x", "--queue"], ["create", "--cli", "fake"], ["interrupt", id]):
            refused(disk(*argv), "Read-only file system", "next: set DEV_SESSIONS_HOME")
        assert disk("kill", id).code == 1
        assert disk.keys() == before
    finally:
        disk.disk.read_only(False)
    disk.ok("kill", id)
    assert disk.run("list", "--json").json == []


def left_alone(path: Path, look: Callable[[], object]) -> bool:
    before = sorted((str(found), found.stat().st_mtime_ns) for found in path.glob("**/*"))
    look()
    return before == sorted((str(found), found.stat().st_mtime_ns) for found in path.glob("**/*"))


def test_readers_repair_nothing(place: Place) -> None:
    (place.state / "sessions.json").write_bytes(b"{")
    assert left_alone(place.state, lambda: [place("list"), place("status", place.hurt), place("wait", place.hurt)])
    ended(place)
