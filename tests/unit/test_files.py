"""Files are written whole or not at all, private, and with a clear error if the disk is full."""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import stat
import subprocess
import sys
import time

import pytest

from dev_sessions.errors import StoreError
from dev_sessions.system import files


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_private_under_any_umask(tmp_path):
    files.make_folder(str(tmp_path / "a" / "b"))
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    files.write_whole(str(tmp_path / "a" / "b" / "f"), b"x")
    files.write_json(str(tmp_path / "a" / "b" / "g"), {"x": 1}, durable=True)
    assert mode(tmp_path / "a" / "b" / "f") == mode(tmp_path / "a" / "b" / "g") == 0o600


def test_an_existing_folder_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    files.make_folder(str(tmp_path))
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "f").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("f", "link"):
        with pytest.raises(StoreError, match=f"{name} is not a folder") as caught:
            files.make_folder(str(tmp_path / name / "g"))
        assert "DEV_SESSIONS_HOME" in caught.value.data["next"]


@pytest.mark.parametrize("content", [b"", b"x", b"\0\xff" * 3_000_000])
@pytest.mark.parametrize("durable", [False, True])
def test_content_is_replaced_whole(tmp_path, content, durable):
    path = tmp_path / "f"
    path.write_bytes(b"old " * 100)
    files.write_whole(str(path), content, durable=durable)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["f"]


def test_a_replaced_file_becomes_private(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    path.chmod(0o644)
    files.write_whole(str(path), b"new")
    assert mode(path) == 0o600


def test_readers_see_the_old_or_the_new_never_a_part(tmp_path):
    path = tmp_path / "f"
    files.write_json(str(path), ["start"])
    code = f"""
import sys; sys.path[:] = {sys.path!r}
from dev_sessions.system import files
print("up", flush=True)
for number in range(40):
    files.write_json({str(path)!r}, [str(number)] * 5_000)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        seen = 0
        while writer.poll() is None:
            value = json.loads(path.read_bytes())
            assert len(set(value)) == 1
            seen += 1
            select.select([], [], [], 0.001)
    assert writer.returncode == 0
    assert seen > 3


@pytest.mark.parametrize("value", [None, 5, "ü\n\u2028", [1, {"a": None}], {"漢": "🙂"}])
def test_json_and_back(tmp_path, value):
    files.write_json(str(tmp_path / "f"), value)
    assert files.read_json(str(tmp_path / "f")) == value
    assert (tmp_path / "f").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"nul\0"])
def test_what_is_not_json(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    assert files.read_json(str(tmp_path / "f")) is None
    assert files.read_json(str(tmp_path / "none")) is None
    assert files.read_json(str(tmp_path / "f" / "below")) is None


def test_a_missing_folder(tmp_path):
    with pytest.raises(StoreError, match="its folder is gone") as caught:
        files.write_whole(str(tmp_path / "gone" / "f"), b"x")
    assert "dev-sessions list" in caught.value.data["next"]


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    code = f"""
import resource, signal, sys; sys.path[:] = {sys.path!r}
from dev_sessions import errors
from dev_sessions.system import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))
try:
    files.write_whole({str(path)!r}, b"n" * 5000, durable=True)
except errors.StoreError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(f"cannot write {path}"), done.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_as_such(number):
    error = files.unwritable("/state/f", OSError(number, os.strerror(number)))
    assert error.message == "the disk that holds /state/f is full"
    assert "free some space" in error.data["next"]


def test_another_reason_is_reported_as_it_is():
    error = files.unwritable("/state/f", OSError(errno.EROFS, os.strerror(errno.EROFS)))
    assert error.message == "cannot write /state/f: Read-only file system"


def test_temporary_files_of_dead_writers_are_swept(tmp_path):
    with subprocess.Popen(["true"]) as dead:
        pass
    old, living = time.time() - 1000, os.getpid()
    for name, at in {
        f"gone.json.{dead.pid}.0a1b2c3d.tmp": old,
        f"clock-set-back.json.{dead.pid}.0a1b2c3d.tmp": time.time() + 9000,
        f"young.json.{dead.pid}.0a1b2c3d.tmp": time.time(),
        f"living.json.{living}.0a1b2c3d.tmp": old,
        "1.2.tmp": old,
        "somebody.tmp": old,
        f"whole.json.{dead.pid}.0a1b2c3d": old,
    }.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    files.sweep_dead(str(tmp_path))
    left = sorted(name.partition(".")[0] for name in os.listdir(tmp_path))
    assert left == ["1", "living", "somebody", "whole", "young"]
    files.sweep_dead(str(tmp_path / "none"))
