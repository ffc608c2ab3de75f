"""A command of the agent: it may outlive its turn."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from typing import Any

from .script import now_ms

_MOST = 1 << 24
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .threads import Thread


class Command:
    """One exec_command, started.

    Args:
        thread, turn: whose.
        id: of the model's call.
        text: for the shell.
    """

    def __init__(self, thread: Thread, turn: str, id: str, text: str) -> None:
        self.turn, self.id, self.text, self._thread = turn, id, text, thread
        self.number, self.began = str(random.randrange(1000, 99_999)), now_ms()
        self.over = threading.Event()
        self.left = False
        self._seen, path = tempfile.mkstemp()
        os.unlink(path)
        self._process = subprocess.Popen(
            ["/bin/bash", "-lc", text],
            cwd=thread.cwd,
            env=thread.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._seen,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self._process.wait()
        self.over.set()
        with self._thread.server.lock:
            if self.left:
                self._thread.command_over(self)

    def output(self) -> str:
        return os.pread(self._seen, _MOST, 0).decode(errors="replace")

    def item(self) -> dict[str, Any]:
        """The item in the form of the rollout."""
        code = self._process.returncode
        status = "in_progress" if code is None else "completed" if code == 0 else "failed"
        seconds = divmod((now_ms() - self.began) * 1_000_000, 1_000_000_000)
        shown = as_item(self.id, self.text, self._thread.cwd, status)
        return {
            **shown,
            "process_id": self.number,
            "source": "unified_exec_startup",
            "aggregated_output": "" if code is None else self.output(),
            "exit_code": None if code is None else max(-1, code),
            "duration": {"secs": seconds[0], "nanos": seconds[1]},
        }

    def result(self) -> str:
        """The output for the model."""
        code = self._process.returncode
        how = f"running with session ID {self.number}" if code is None else f"exited with code {code}"
        wall = (now_ms() - self.began) / 1000
        head = f"Chunk ID: {os.urandom(3).hex()}\nWall time: {wall:.4f} seconds\nProcess {how}"
        return f"{head}\nOriginal token count: 1\nOutput:\n{self.output()}"

    def shown(self) -> dict[str, Any]:
        """The command in the form of a background terminal."""
        known = {"itemId": self.id, "processId": self.number, "command": self.text, "cwd": self._thread.cwd}
        return {**known, "osPid": None, "cpuPercent": None, "rssKb": None}

    def kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        end = time.monotonic() + 5
        while not self.over.is_set() and time.monotonic() < end:
            time.sleep(0.005)  # not under a condition: `_wait` wants the server's lock right after


def as_item(id: str, text: str, cwd: str, status: str) -> dict[str, Any]:
    """A command without any other information."""
    item: dict[str, Any] = {
        "type": "CommandExecution",
        "id": id,
        "process_id": None,
        "command": ["/bin/bash", "-lc", text],
    }
    item |= {"cwd": f"file://{cwd}", "parsed_cmd": [{"type": "unknown", "cmd": text}], "source": "agent"}
    return {**item, "status": status, "aggregated_output": None, "exit_code": None, "duration": None}
