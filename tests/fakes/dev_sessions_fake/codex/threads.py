"""A thread: its settings, its turn, its goal, its clients."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
import threading
import time
from typing import Any

from . import VERSION
from .commands import Command
from .rollout import Rollout, shown_item, turns, viewed
from .script import new_id
from .turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .server import Connection, Server

Fields = dict[str, Any]
_GOAL_PAUSE = 0.01
_SANDBOXES = {"danger-full-access": "dangerFullAccess", "workspace-write": "workspaceWrite", "read-only": "readOnly"}


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, message: str, code: int = -32600, **data: Any) -> None:
        super().__init__(message)
        self.error: Fields = {"code": code, "message": message} | ({"data": data} if data else {})


class Thread:
    """A loaded thread. All but `environment` is for holders of the server's lock.

    Args:
        given: what it was started with, as it is kept in `<home>/fake/<thread>/thread.json`.
        config: the parameters' `config`, which is kept nowhere.
    """

    def __init__(self, server: Server, given: Fields, config: Fields) -> None:
        self.server, self.given, self._config = server, given, config
        self.id: str = given["id"]
        self.cwd: str = given["cwd"]
        self.path: str = given["path"]
        self.rollout = Rollout(self.path, self.id)
        self.followers: set[Connection] = set()
        self.turn: Turn | None = None
        self.status: Fields = {"type": "idle"}
        self.left: dict[str, Command] = {}
        self.rested = time.monotonic()
        self._lock = _held(server.home, self.id)
        server.threads[self.id] = self

    # What it says.

    def tell(self, method: str, **params: Any) -> None:
        """Send a notice to the thread's clients."""
        for connection in list(self.followers):
            connection.tell(method, {"threadId": self.id, **params})

    def be(self, type: str, *flags: str) -> None:
        self.status = {"type": type} | ({"activeFlags": list(flags)} if type == "active" else {})
        self.server.broadcast("thread/status/changed", {"threadId": self.id, "status": self.status})

    def item(self, turn: str, item: Fields, began: int) -> None:
        """Write a complete item to the rollout and report it."""
        self.rollout.item(turn, item, began)
        shown = shown_item(item, began, time.time_ns() // 1_000_000)
        ended = {"contentTokenCount": None, "completedAtMs": shown["completedAtMs"]}
        self.tell("item/completed", item=shown, turnId=turn, **ended)

    def begun(self, turn: str, item: Fields, began: int) -> None:
        self.tell("item/started", item=shown_item(item, began, None), turnId=turn, startedAtMs=began)

    # Turns.

    def begin(self, text: str, client: str | None, goal: bool = False) -> str:
        self.materialize()
        self.turn = Turn(self, text, client, goal)
        if goal:
            self.turn.tell_beginning()  # at once, so that a goal that is paused now does not begin an unseen turn
        self.turn.start()
        return self.turn.id

    def turn_over(self, interrupted: bool) -> None:
        self.turn = None
        self.rested = time.monotonic()
        goal = self.goal
        if goal and goal["tokenBudget"] and goal["tokensUsed"] >= goal["tokenBudget"]:
            self.set_goal({**goal, "status": "budgetLimited"})
        elif not interrupted:
            threading.Timer(_GOAL_PAUSE, self.pursue).start()

    def pursue(self) -> None:
        """Go on with an active goal, if nothing runs."""
        with self.server.lock:
            loaded = self.server.threads.get(self.id) is self
            if loaded and self.turn is None and self.goal and self.goal["status"] == "active":
                self.begin(self.goal["objective"], None, goal=True)

    @property
    def goal(self) -> Fields | None:
        return self.given.get("goal")

    def set_goal(self, goal: Fields | None) -> None:
        self.keep(goal=goal)
        if goal is None:
            self.server.broadcast("thread/goal/cleared", {"threadId": self.id})
            return
        self.rollout.event("thread_goal_updated", threadId=self.id, goal=goal)
        self.server.broadcast("thread/goal/updated", {"threadId": self.id, "turnId": None, "goal": goal})

    # Commands.

    def environment(self) -> dict[str, str]:
        policy = self._config.get("shell_environment_policy") or {}
        inherited = {} if policy.get("inherit") == "none" else dict(os.environ)
        given = {"CODEX_THREAD_ID": self.id, "CODEX_SESSION_ID": self.id, "CODEX_CI": "1"}
        return {**inherited, **given, **(policy.get("set") or {})}

    def leave(self, command: Command) -> None:
        """A command goes on behind its turn."""
        self.left[command.number] = command
        command.left = True
        if command.over.is_set():
            self.command_over(command)

    def command_over(self, command: Command) -> None:
        if self.left.pop(command.number, None) is not None:
            self.item(command.turn, command.item(), command.began)

    def end_commands(self) -> None:
        for command in list(self.left.values()):
            command.kill()
            self.command_over(command)

    # On the disk.

    def materialize(self) -> None:
        if not os.path.exists(self.path):
            self.rollout.begin(self.cwd)
            self.keep()

    def keep(self, **fields: Any) -> None:
        self.given |= fields
        folder = _own_folder(self.server.home, self.id)
        os.makedirs(os.path.join(folder, "release"), exist_ok=True)
        with open(os.path.join(folder, "thread.json.new"), "w", encoding="utf-8") as file:
            json.dump(self.given, file)
        os.replace(file.name, os.path.join(folder, "thread.json"))

    def released(self, name: str) -> bool:
        return os.path.exists(os.path.join(_own_folder(self.server.home, self.id), "release", name))

    def unload(self) -> None:
        self.end_commands()
        del self.server.threads[self.id]
        os.close(self._lock)
        self.be("notLoaded")

    def archive(self) -> None:
        """Interrupt, end its commands, unload, and put the rollout aside."""
        if self.turn is not None:
            self.turn.interrupt()
            self.turn.finish("interrupted")
        self.unload()
        if os.path.exists(self.path):
            folder = os.path.join(self.server.home, "archived_sessions")
            os.makedirs(folder, exist_ok=True)
            shutil.move(self.path, folder)


def view(given: Fields, status: Fields) -> Fields:
    """A thread as every answer shows it."""
    cwd, nothing = given["cwd"], None
    local = {"environmentId": "local", "cwd": cwd, "runtimeWorkspaceRoots": [cwd]}
    shown: Fields = {"id": given["id"], "environments": [local], "extra": nothing, "sessionId": given["id"]}
    shown |= dict.fromkeys(("forkedFromId", "attachedToThreadId", "parentThreadId", "section", "sectionEnteredAt"))
    shown |= dict.fromkeys(("projectId", "reasoningEffort", "threadSource", "agentNickname", "agentRole", "gitInfo"))
    shown |= {"preview": "", "ephemeral": False, "historyMode": "paginated", "modelProvider": "offline"}
    shown |= {"createdAt": given["at"], "updatedAt": given["at"], "recencyAt": given["at"], "cwd": cwd}
    shown |= {"model": given["model"], "status": status, "path": given["path"], "cliVersion": VERSION, "turns": []}
    shown |= {"originator": "dev-sessions", "source": "vscode", "canAcceptDirectInput": True, "daybreakEnabled": None}
    return {**shown, "name": given.get("name")}


def settings(given: Fields) -> Fields:
    """The settings in the answers of `thread/start` and `thread/resume`."""
    known = {"model": given["model"], "modelProvider": "offline", "serviceTier": None, "disabledPluginIds": []}
    known |= {"cwd": given["cwd"], "runtimeWorkspaceRoots": [given["cwd"]], "instructionSources": []}
    known |= {"approvalPolicy": given["policy"], "approvalsReviewer": "user", "activePermissionProfile": None}
    sandbox = {"type": _SANDBOXES[given["sandbox"]]}
    return {**known, "sandbox": sandbox, "reasoningEffort": None, "multiAgentMode": "explicitRequestOnly"}


def page(path: str, running: str | None, asked: Fields) -> Fields:
    """The newest turns, newest first."""
    limit = min(100, asked.get("limit") or 25)
    found = turns(path, running)[::-1]
    shown = [viewed(turn, asked.get("itemsView") or "summary") for turn in found[:limit]]
    cursor = json.dumps({"requestedThreadId": os.path.basename(path), "rolloutOrdinal": len(found)})
    return {"data": shown, "nextCursor": cursor if len(found) > limit else None, "backwardsCursor": cursor}


def new(server: Server, params: Fields) -> Thread:
    """A new thread for `thread/start`: it is written to disk only when it is named, or has its first turn."""
    id, now = new_id(), time.localtime()
    folder = os.path.join(server.home, "sessions", time.strftime("%Y/%m/%d", now))
    given = {
        "id": id,
        "path": os.path.join(folder, f"rollout-{time.strftime('%Y-%m-%dT%H-%M-%S', now)}-{id}.jsonl"),
        "cwd": params.get("cwd") or os.getcwd(),
        "policy": params.get("approvalPolicy") or "on-request",
        "sandbox": params.get("sandbox") or "read-only",
        "model": params.get("model") or "gpt-5",
        "at": int(time.time()),
    }
    return Thread(server, given, params.get("config") or {})


def stored(server: Server, id: str) -> Fields | None:
    """The stored data of a thread on disk, archived or not."""
    try:
        with open(os.path.join(_own_folder(server.home, id), "thread.json"), encoding="utf-8") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return None


def is_archived(server: Server, id: str) -> bool:
    return bool(glob.glob(os.path.join(server.home, "archived_sessions", f"rollout-*-{id}.jsonl")))


def take_out(server: Server, given: Fields) -> None:
    """Out of the archive."""
    shutil.move(os.path.join(server.home, "archived_sessions", os.path.basename(given["path"])), given["path"])


def _own_folder(home: str, id: str) -> str:
    return os.path.join(home, "fake", id)


def _held(home: str, id: str) -> int:
    """The lock of the process that may write to a thread."""
    folder = os.path.join(home, "thread-writer-locks")
    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(os.path.join(folder, f"{id}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Refusal(f"thread {id} already has an active writer") from None
    return descriptor
