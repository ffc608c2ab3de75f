"""scripts/offline.py: a command without a network except its own loopback, or with a note that it has one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

OFFLINE = Path(__file__).resolve().parents[2] / "scripts" / "offline.py"

# Prints the interfaces, the user, and what came back over 127.0.0.1.
LOOK = """
import os, socket
with socket.create_server(("127.0.0.1", 0)) as server:
    with socket.create_connection(server.getsockname()) as client:
        client.sendall(b"hello")
    with server.accept()[0] as connection:
        heard = connection.recv(9).decode()
print(*sorted(name for _, name in socket.if_nameindex()), os.geteuid(), os.getcwd(), heard)
"""


def offline(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(OFFLINE), *command]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_only_loopback_is_left_or_one_line_says_that_it_is_not_isolated(tmp_path: Path) -> None:
    done = offline(sys.executable, "-c", LOOK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *interfaces, uid, folder, heard = done.stdout.split()
    assert (int(uid), folder, heard) == (os.geteuid(), str(tmp_path), "hello")
    if done.stderr:
        assert done.stderr.startswith("offline.py: not isolated from the network (")
        assert done.stderr.count("\n") == 1
    else:
        assert interfaces == ["lo"]


def test_exit_code_is_the_commands() -> None:
    assert offline(sys.executable, "-c", "raise SystemExit(7)").returncode == 7


def test_signals_reach_the_command() -> None:
    script = "import time; print('up', flush=True); time.sleep(60)"
    argv = [sys.executable, str(OFFLINE), sys.executable, "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM


def test_a_command_that_does_not_exist_is_named() -> None:
    done = offline("no-such-program-here")
    assert done.returncode == 127
    assert "cannot run no-such-program-here" in done.stderr


def test_without_a_command_it_prints_its_usage() -> None:
    done = offline()
    assert done.returncode == 1
    assert done.stderr.startswith("usage: offline.py COMMAND")
