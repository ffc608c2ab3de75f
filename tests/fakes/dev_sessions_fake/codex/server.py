"""The socket, the connections, and the notices to clients."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import socket
import tempfile
import threading
import time
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from . import methods
from .threads import Refusal, Thread

Fields = dict[str, Any]
_CHUNK = 1 << 18
_LOOK_SECONDS = 0.05
_OLD_INVALID = "Invalid request: unknown variant `{}`, expected one of `initialize`, `server/diagnostics`"


class InUse(Exception):
    """Another server listens there."""


class Connection:
    """One client."""

    def __init__(self, server: Server, client: socket.socket) -> None:
        self.server, self.initialized = server, False
        self._client, self._protocol, self._parts = client, ServerProtocol(max_size=None), list[bytes]()
        self._lock = threading.Lock()
        self.unwanted: set[str] = set()

    def live(self) -> None:
        try:
            while content := self._client.recv(_CHUNK):
                with self._lock:
                    self._protocol.receive_data(content)
                    events = self._protocol.events_received()
                for event in events:
                    self._take(event)
                self._flush()
        except OSError:
            pass
        finally:
            self.server.forget(self)
            self._client.close()

    def _take(self, event: Any) -> None:
        if isinstance(event, Request):
            self._protocol.send_response(self._protocol.accept(event))
        elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
            self._parts.append(bytes(event.data))
            if event.fin:
                content, self._parts = b"".join(self._parts), []
                self.server.take(self, json.loads(content))

    def send(self, frame: Fields) -> None:
        with self._lock:
            if self._protocol.state is not State.OPEN:
                return
            self._protocol.send_text(json.dumps(frame).encode())
        self._flush()

    def tell(self, method: str, params: Fields) -> None:
        if self.initialized and method not in self.unwanted:
            self.send({"method": method, "params": params, "emittedAtMs": time.time_ns() // 1_000_000})

    def _flush(self) -> None:
        with self._lock:
            try:
                for content in self._protocol.data_to_send():
                    if content:
                        self._client.sendall(content)
                    else:
                        self._client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the reader sees it


class Server:
    """Serves one CODEX_HOME.

    Args:
        home: the CODEX_HOME.
        path: of the socket.
        mood: "logged out", or "mute": it accepts, and answers nothing.
    """

    def __init__(self, home: str, path: str, mood: str) -> None:
        self.home, self.mood = home, mood
        self._path, self._short = path, ""
        self.lock = threading.RLock()
        self.threads: dict[str, Thread] = {}
        self.connections: list[Connection] = []
        self.requests: dict[int, Any] = {}
        self.asked, self._stops = 0, 0
        self._unload_seconds = float(os.environ.get("FAKE_UNLOAD", "60"))

    # Life.

    def live(self) -> None:
        """Serve until SIGTERM; then the turns that run may end."""
        listener = self._listen()
        listener.settimeout(_LOOK_SECONDS)  # a signal right before a wait without an end would not be seen
        signal.signal(signal.SIGTERM, self._stop)
        threading.Thread(target=self._unload_idle, daemon=True).start()
        while not self._stops:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            connection = Connection(self, client)
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=connection.live, daemon=True).start()
        listener.close()
        self._drain()
        os.unlink(self._path)
        os.unlink(self._short)
        os._exit(0)

    def _stop(self, *_: object) -> None:
        self._stops += 1

    def _listen(self) -> socket.socket:
        folder = os.path.dirname(self._path)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._held = os.open(os.path.join(folder, "app-server-startup.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse from None
        short = os.environ.get("FAKE_SOCKETS") or tempfile.gettempdir()
        self._short = os.path.join(short, f"codex-{hashlib.sha256(self._path.encode()).hexdigest()[:16]}")
        for path in (self._path, self._short):
            if os.path.lexists(path):
                os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._short)
        os.chmod(self._short, 0o600)
        listener.listen(128)
        os.symlink(self._short, self._path)
        return listener

    def _drain(self) -> None:
        while self._stops == 1 and any(thread.turn is not None for thread in self.threads.values()):
            time.sleep(_LOOK_SECONDS)
        for thread in self.threads.values():
            thread.end_commands()

    def _unload_idle(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            with self.lock:
                for thread in list(self.threads.values()):
                    if thread.followers or thread.turn is not None:
                        thread.rested = time.monotonic()
                    elif time.monotonic() - thread.rested > self._unload_seconds:
                        thread.unload()
                        self.broadcast("thread/closed", {"threadId": thread.id})

    # Messages.

    def take(self, connection: Connection, frame: Fields) -> None:
        """One message of a client."""
        if self.mood == "mute":
            return
        with self.lock:
            if "method" not in frame:
                asked = self.requests.get(frame.get("id", -1))
                if asked is not None:
                    asked.answered(frame.get("result") or {})
            elif "id" in frame:
                self._answer(connection, frame)

    def _answer(self, connection: Connection, frame: Fields) -> None:
        method, params = frame["method"], frame.get("params") or {}
        after: list[Any] = []
        try:
            if not connection.initialized and method != "initialize":
                raise Refusal("Not initialized")
            if method not in methods.METHODS:
                raise Refusal(_OLD_INVALID.format(method))
            result = methods.METHODS[method](self, connection, params, after.append)
        except Refusal as refusal:
            connection.send({"error": refusal.error, "id": frame["id"]})
            return
        connection.send({"id": frame["id"], "result": result})
        for act in after:
            act()

    def broadcast(self, method: str, params: Fields) -> None:
        """Send a notice to all clients."""
        for connection in list(self.connections):
            connection.tell(method, params)

    def forget(self, connection: Connection) -> None:
        with self.lock:
            self.connections.remove(connection)
            for thread in self.threads.values():
                thread.followers.discard(connection)
