"""The registry of sessions: nothing is lost, whoever writes and however it is damaged."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys

import pytest

from dev_sessions.errors import SessionNotFound, StoreError
from dev_sessions.state.registry import Store

# What every reader relies on in a record.
REST = {"cli": "claude", "mode": "native", "permissions": "full", "path": "/", "description": ""}


def record(id, **more):
    return {"id": id, "key": f"{id}-0a1b2c3d", **REST, **more}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "state"))


def put(store, *records):
    with store.change() as known:
        known.update({one["id"]: one for one in records})


def child(code, home):
    """A process that works on the same state folder; it prints a line when it is there."""
    prelude = f"import sys; sys.path[:] = {sys.path!r}\nfrom dev_sessions.state.registry import Store\n"
    program = f"{prelude}store, REST = Store({home!r}), {REST!r}\n{code}"
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_no_registry_yet(store):
    assert store.load() == {}
    assert not os.path.exists(store.home)


def test_written_records_are_read_back(store):
    put(store, record("fizz-top", description="ü\n"), record("riven-jg"))
    assert store.load() == {"fizz-top": record("fizz-top", description="ü\n"), "riven-jg": record("riven-jg")}
    with store.change() as records:
        del records["fizz-top"]
        records["riven-jg"]["pid"] = 5
    assert Store(store.home).load() == {"riven-jg": record("riven-jg", pid=5)}


def test_everything_is_private(store):
    put(store, record("fizz-top"))
    for folder, _, names in os.walk(store.home):
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert all(os.stat(os.path.join(folder, name)).st_mode & 0o777 == 0o600 for name in names)


def test_a_block_that_fails_changes_nothing(store):
    put(store, record("fizz-top"))

    def fail():
        with store.change() as records:
            records.clear()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(store.load()) == ["fizz-top"]
    put(store, record("riven-jg"))
    assert len(store.load()) == 2


def test_a_block_that_changes_nothing_writes_nothing(store):
    put(store, record("fizz-top"))
    before = os.stat(store.path).st_ino
    with store.change():
        pass
    assert os.stat(store.path).st_ino == before


def test_each_record_is_in_its_folder_too(store):
    put(store, record("fizz-top", description="x"))
    with open(os.path.join(store.folder(record("fizz-top")), "record.json"), encoding="utf-8") as file:
        assert json.load(file) == record("fizz-top", description="x")


def test_eight_writers_at_once_lose_nothing(store):
    code = """
print("up", flush=True)
sys.stdin.readline()
for change in range(20):
    with store.change() as records:
        old = records.get("count", {"id": "count", "key": "count-1", "n": 0, **REST})
        records["count"] = {**old, "n": old["n"] + 1}
        records[f"NUMBER-{change}"] = {"id": f"NUMBER-{change}", "key": f"NUMBER-{change}", **REST}
"""
    writers = [child(code.replace("NUMBER", f"w{number}"), store.home) for number in range(8)]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen = 0
    while any(writer.poll() is None for writer in writers):
        now = store.load().get("count", {}).get("n", 0)
        assert now >= seen
        seen = now
        select.select([], [], [], 0.02)
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    records = store.load()
    assert records["count"]["n"] == 160
    assert len(records) == 161


def test_a_killed_writer_leaves_no_lock_and_no_change(store):
    put(store, record("fizz-top"))
    writer = child(
        "with store.change() as records:\n  records.clear(); print('in', flush=True); sys.stdin.read()", store.home
    )
    assert writer.stdout.readline() == "in\n"
    with pytest.raises(StoreError), store.lock(os.path.join(store.home, "sessions.lock"), timeout=0.05):
        pass
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=60)
    assert list(store.load()) == ["fizz-top"]
    put(store, record("riven-jg"))
    assert len(store.load()) == 2


def test_the_error_for_a_held_lock_names_it(store, tmp_path):
    path = str(tmp_path / "lock")
    with (
        store.lock(path),
        pytest.raises(StoreError, match="held") as caught,
        Store(store.home).lock(path, timeout=0),
    ):
        pass
    assert path in caught.value.message
    with store.lock(path, timeout=0):
        assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
@pytest.mark.parametrize("leads", ["to a file", "nowhere"])
def test_no_lock_is_opened_through_a_link(store, tmp_path, leads, held):
    path, there = tmp_path / "lock", tmp_path / "notes.txt"
    path.symlink_to(there)
    if leads == "to a file":
        there.write_text("notes")
        there.chmod(0o644)
        descriptor = os.open(there, os.O_RDONLY)
        if held:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(StoreError, match="link") as caught, store.lock(str(path), timeout=0.1):
        pass
    assert f"rm {path}" in caught.value.data["next"]
    assert there.exists() == (leads == "to a file")
    if there.exists():
        os.close(descriptor)
        assert (there.read_text(), there.stat().st_mode & 0o777) == ("notes", 0o644)


def test_a_lock_file_of_another_user_or_kind_is_refused(store, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="not a file"), store.lock(str(pipe), timeout=0.1):
        pass
    if os.geteuid() == 0:
        other = tmp_path / "lock"
        other.touch(0o666)
        os.chown(other, 65534, 65534)
        with pytest.raises(StoreError, match="another user"), store.lock(str(other), timeout=0.1):
            pass
        assert other.stat().st_uid == 65534


DAMAGED = {
    "empty": b"",
    "cut off": b'{"format": 1, "sessions": {"fizz-',
    "zeros": b"\0" * 500,
    "no text": b"\xff\xfe\xfd",
    "a list": b"[]",
    "no format": b'{"sessions": {}}',
    "sessions are a list": b'{"format": 1, "sessions": []}',
    "a record is none": b'{"format": 1, "sessions": {"a": null}}',
    "a record without a key": b'{"format": 1, "sessions": {"a": {"id": "a"}}}',
    "a record of another id": b'{"format": 1, "sessions": {"a": {"id": "b", "key": "k"}}}',
    "format is a word": b'{"format": "1", "sessions": {}}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_registry_is_set_aside_and_rebuilt(store, content):
    put(store, record("fizz-top", description="x"), record("riven-jg"))
    with open(store.path, "wb") as file:
        file.write(content)
    said = []
    again = Store(store.home, said.append)
    assert again.load() == {"fizz-top": record("fizz-top", description="x"), "riven-jg": record("riven-jg")}
    assert "damaged" in said[0]
    with open(store.path, "rb") as file:
        assert file.read() == content, "a reader has written"
    put(again, record("zed-mid"))
    assert set(Store(store.home).load()) == {"fizz-top", "riven-jg", "zed-mid"}
    (aside,) = [name for name in os.listdir(store.home) if ".damaged-" in name]
    with open(os.path.join(store.home, aside), "rb") as file:
        assert file.read() == content
    assert any(aside in text for text in said)


def test_a_damaged_registry_without_folders_is_empty(store):
    os.makedirs(store.home)
    with open(store.path, "wb") as file:
        file.write(b"{")
    assert store.load() == {}


def test_folders_without_a_session_are_ignored_in_a_rebuild(store):
    put(store, record("fizz-top"))
    folder = store.sessions_folder
    for name, content in (
        ("empty", None),
        ("other", record("x-top")),
        ("odd", [1]),
        ("odd2", {"id": 5, "key": "odd2"}),
    ):
        os.makedirs(os.path.join(folder, name))
        if content is not None:
            with open(os.path.join(folder, name, "record.json"), "w", encoding="utf-8") as file:
                json.dump(content, file)
    os.unlink(store.path)
    with open(store.path, "wb") as file:
        file.write(b"{")
    assert list(store.load()) == ["fizz-top"]


@pytest.mark.parametrize("work", ["load", "change"])
def test_a_newer_format_is_refused_and_left_alone(store, work):
    put(store, record("fizz-top"))
    content = json.dumps({"format": 2, "sessions": {"of": "another shape"}}).encode()
    with open(store.path, "wb") as file:
        file.write(content)
    with pytest.raises(StoreError, match="newer") as caught:
        store.load() if work == "load" else put(store, record("a-top"))
    assert "damaged" not in caught.value.message
    with open(store.path, "rb") as file:
        assert file.read() == content
    assert not [name for name in os.listdir(store.home) if "damaged" in name]


def test_a_state_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError) as caught:
        put(Store(str(tmp_path / "file" / "state")), record("a-top"))
    assert "DEV_SESSIONS_HOME" in caught.value.data["next"]


def test_a_folder_instead_of_the_registry(store):
    put(store, record("fizz-top"))
    os.unlink(store.path)
    os.makedirs(os.path.join(store.path, "inside"))
    said = []
    again = Store(store.home, said.append)
    assert list(again.load()) == ["fizz-top"]
    put(again, record("riven-jg"))
    assert set(Store(store.home).load()) == {"fizz-top", "riven-jg"}
    (aside,) = [name for name in os.listdir(store.home) if ".damaged-" in name]
    assert os.listdir(os.path.join(store.home, aside)) == ["inside"]
    assert any(aside in text for text in said)


def test_a_registry_that_cannot_be_read(tmp_path):
    (tmp_path / "home").symlink_to(tmp_path / "home")
    with pytest.raises(StoreError, match="cannot read") as caught:
        Store(str(tmp_path / "home")).load()
    assert "DEV_SESSIONS_HOME" in caught.value.data["next"]


BAD = {
    "none": None,
    "a list": [],
    "no key": {"id": "bad", **REST},
    "another id": record("other"),
    "a key that leads away": {**record("bad"), "key": "../../bad"},
    "a key that is the folder itself": {**record("bad"), "key": "."},
    "a description that is no text": record("bad", description=5),
    "a time that is no number": record("bad", created_at="yesterday"),
    "a creator that is no object": record("bad", creator=7),
    "a backend part that is no object": record("bad", backend=["x"]),
    "a group that is no text": record("bad", group={}),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_one_bad_record_does_not_affect_the_others(store, bad):
    put(store, record("fizz-top"), record("riven-jg"), record("bad", description="as it was"))
    # This one is whole in the registry only.
    os.unlink(os.path.join(store.folder(record("fizz-top")), "record.json"))
    with open(store.path, "w", encoding="utf-8") as file:
        sessions = {"fizz-top": record("fizz-top"), "riven-jg": record("riven-jg"), "bad": bad}
        json.dump({"format": 1, "sessions": sessions}, file)
    said = []
    again = Store(store.home, said.append)
    assert again.load() == {id: record(id) for id in ("fizz-top", "riven-jg")} | {
        "bad": record("bad", description="as it was")
    }
    assert "bad records: bad" in said[0]
    with again.change():
        pass
    assert "bad" in Store(store.home, said.append).load()
    assert len([name for name in os.listdir(store.home) if ".damaged-" in name]) == 1
    said.clear()
    with again.change():
        pass
    again.load()
    assert said == [], "it is damaged still"


def test_a_folder_that_cannot_be_rebuilt_is_reported(store):
    put(store, record("fizz-top"), record("riven-jg"))
    folder = store.folder(record("riven-jg"))
    os.makedirs(os.path.join(folder, "messages", "0001"))
    with open(os.path.join(folder, "record.json"), "w", encoding="utf-8") as file:
        file.write('{"id": "riv')
    with open(store.path, "w", encoding="utf-8") as file:
        file.write("{")
    said = []
    again = Store(store.home, said.append)
    assert list(again.load()) == ["fizz-top"]
    assert folder in said[0]
    assert "tmux attach -t dev-riven-jg" in said[0]
    put(again, record("zed-mid"))
    assert os.path.isdir(os.path.join(folder, "messages", "0001")), "lost"


def test_the_session_wins_over_a_killed_create_of_the_same_id(store):
    put(store, record("fizz-top", created_at=1.0, ready_at=2.0))
    for key, more in (("fizz-top-00000000", {"created_at": 0.5}), ("fizz-top-ffffffff", {"created_at": 9.0})):
        os.makedirs(os.path.join(store.sessions_folder, key))
        with open(os.path.join(store.sessions_folder, key, "record.json"), "w", encoding="utf-8") as file:
            json.dump({**record("fizz-top", **more), "key": key}, file)
    os.unlink(store.path)
    assert store.load()["fizz-top"]["key"] == record("fizz-top")["key"]


def test_a_json_bomb_is_a_damaged_registry(store):
    put(store, record("fizz-top"))
    with open(store.path, "wb") as file:
        file.write(b"[" * 200_000)
    assert list(store.load()) == ["fizz-top"]


def test_leftovers_of_a_killed_writer_are_removed(store):
    put(store, record("fizz-top"))
    spare = os.path.join(store.sessions_folder, "zed-mid-0a1b2c3d")
    half = os.path.join(store.sessions_folder, "jinx-adc-0a1b2c3d")
    used = os.path.join(store.sessions_folder, "yasuo-mid-0a1b2c3d")
    broken = os.path.join(store.sessions_folder, "ahri-mid-0a1b2c3d")
    for folder in (spare, half, broken, os.path.join(used, "messages")):
        os.makedirs(folder)
    for path, content in (
        (os.path.join(spare, "record.json"), json.dumps(record("zed-mid"))),
        (os.path.join(half, "record.json.77.0a1b2c3d.tmp"), '{"id": '),
        (os.path.join(used, "record.json"), json.dumps(record("yasuo-mid"))),
        (os.path.join(broken, "record.json"), '{"id": '),
        (f"{store.path}.77.0a1b2c3d.tmp", "{"),
        (os.path.join(store.home, "notes.tmp"), "a person's own"),
    ):
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    put(store, record("riven-jg"))
    assert sorted(os.listdir(store.sessions_folder)) == [
        os.path.basename(broken),
        record("fizz-top")["key"],
        record("riven-jg")["key"],
        os.path.basename(used),
    ]
    assert sorted(os.listdir(store.home)) == ["notes.tmp", "sessions", "sessions.json", "sessions.lock"]


def test_the_lock_of_a_missing_folder(store, tmp_path):
    with pytest.raises(SessionNotFound, match="is gone") as caught, store.lock(str(tmp_path / "gone" / "lock")):
        pass
    assert "dev-sessions kill" in caught.value.data["next"]
    assert not (tmp_path / "gone").exists()
