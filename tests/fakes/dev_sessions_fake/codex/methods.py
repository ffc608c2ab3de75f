"""The methods of the server."""

from __future__ import annotations

import os
import time
from typing import Any

from . import VERSION, threads
from .rollout import shown_turn
from .threads import Refusal, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .server import Connection, Server

    After = Callable[[Callable[[], None]], None]

Fields = dict[str, Any]
_LIMIT = 1_048_576


def initialize(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    def greet() -> None:
        connection.initialized = True
        known = {"serverName": "host", "installationId": "00000000-0000-4000-8000-000000000000"}
        connection.tell("remoteControl/status/changed", {"status": "disabled", **known, "environmentId": None})

    connection.unwanted = set((params.get("capabilities") or {}).get("optOutNotificationMethods") or ())
    after(greet)
    agent = f"dev-sessions/{VERSION} (fake; x86_64) unknown (dev-sessions; 0.1.0)"
    return {"userAgent": agent, "codexHome": server.home, "platformFamily": "unix", "platformOs": "linux"}


def account(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    needed = server.mood == "logged out"
    return {"account": None, "userId": None, "requiresOpenaiAuth": needed, "workspaceRouting": None}


def config(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    return {"config": {}, "layers": []}


def start(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread = threads.new(server, params)
    thread.followers.add(connection)
    shown = threads.view(thread.given, thread.status)
    after(lambda: server.broadcast("thread/started", {"thread": shown}))
    return {"thread": shown, **threads.settings(thread.given)}


def resume(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread = server.threads.get(params["threadId"])
    if thread is None or not os.path.exists(thread.path):
        thread = _loaded(server, params)
    thread.followers.add(connection)
    after(lambda: _catch_up(thread, connection))
    running = thread.turn.id if thread.turn else None
    collaboration = {"model": thread.given["model"], "reasoning_effort": None, "developer_instructions": None}
    newest = threads.page(thread.path, running, params.get("initialTurnsPage") or {"limit": 1})
    more: Fields = {"collaborationMode": {"mode": "default", "settings": collaboration}}
    more |= {"initialTurnsPage": newest if params.get("initialTurnsPage") else None}
    more |= {"turnsBackwardsCursor": newest["backwardsCursor"], "itemsBackwardsCursor": newest["backwardsCursor"]}
    shown = threads.view(thread.given, {"type": "active", "activeFlags": []} if running else thread.status)
    if running and thread.status["type"] == "active":
        shown["status"] = thread.status
    return {"thread": shown, **threads.settings(thread.given), **more}


def _loaded(server: Server, params: Fields) -> Thread:
    id = params["threadId"]
    if threads.is_archived(server, id):
        raise Refusal(f"session {id} is archived. Run `codex unarchive {id}` to unarchive it first.")
    given = threads.stored(server, id)
    if given is None or not os.path.exists(given["path"]):
        raise Refusal(f"no rollout found for thread id {id}")
    thread = Thread(server, given, params.get("config") or {})
    thread.be("idle")
    return thread


def _catch_up(thread: Thread, connection: Connection) -> None:
    """Send a new client the goal, which this continues, and the open requests."""
    goal, id = thread.goal, {"threadId": thread.id}
    if goal is None:
        connection.tell("thread/goal/cleared", id)
    else:
        connection.tell("thread/goal/updated", {**id, "turnId": None, "goal": goal})
    if thread.turn is not None and thread.turn.asked is not None:
        connection.send(thread.turn.asked.frame)
    thread.pursue()


def _given(server: Server, id: str) -> tuple[Fields, Fields]:
    """A thread, loaded or not, and its status."""
    thread = server.threads.get(id)
    if thread is not None:
        return thread.given, thread.status
    given = threads.stored(server, id)
    if given is None:
        raise Refusal(f"thread not loaded: {id}")
    return given, {"type": "notLoaded"}


def read(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    given, status = _given(server, params["threadId"])
    revision = f"initial:{given['id']}"
    return {"thread": threads.view(given, status), "readState": {"firstUnread": None, "revision": revision}}


def turns(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    given, _ = _given(server, params["threadId"])
    thread = server.threads.get(given["id"])
    return threads.page(given["path"], thread.turn.id if thread and thread.turn else None, params)


def name(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread = _thread(server, params)
    thread.materialize()
    thread.keep(name=params["name"])
    told = {"threadId": thread.id, "threadName": params["name"]}
    after(lambda: server.broadcast("thread/name/updated", told))
    return {}


def _thread(server: Server, params: Fields) -> Thread:
    found = server.threads.get(params["threadId"])
    if found is None:
        raise Refusal(f"thread not found: {params['threadId']}")
    return found


def _text(params: Fields) -> str:
    text = "".join(part["text"] for part in params["input"])
    if len(text) > _LIMIT:
        known = {"input_error_code": "input_too_large", "max_chars": _LIMIT, "actual_chars": len(text)}
        raise Refusal(f"Input exceeds the maximum length of {_LIMIT} characters.", -32602, **known)
    return text


def turn_start(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread, client = _thread(server, params), params.get("clientUserMessageId")
    text = _text(params)
    if thread.turn is not None:
        thread.turn.steer(text, client)
        id = thread.turn.id
    else:
        id = thread.begin(text, client)
    return {"turn": shown_turn(id, "inProgress", None)}


def steer(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread, expected = _thread(server, params), params["expectedTurnId"]
    if thread.turn is None:
        raise Refusal("no active turn to steer")
    if thread.turn.id != expected:
        raise Refusal(f"expected active turn id `{expected}` but found `{thread.turn.id}`")
    thread.turn.steer(_text(params), params.get("clientUserMessageId"))
    return {"turnId": thread.turn.id}


def interrupt(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread, wanted = _thread(server, params), params["turnId"]
    if wanted and thread.turn is None:
        raise Refusal("no active turn to interrupt")
    if wanted and thread.turn and thread.turn.id != wanted:
        raise Refusal(f"expected active turn id `{wanted}` but found `{thread.turn.id}`")
    if thread.turn is not None:
        thread.turn.interrupt()
    return {}


def terminals(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    return {"data": [one.shown() for one in _thread(server, params).left.values()], "nextCursor": None}


def clean(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    after(_thread(server, params).end_commands)
    return {}


def archive(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    id = params["threadId"]
    thread = server.threads.get(id)
    if thread is None:
        thread = _loaded(server, params)
    thread.archive()
    after(lambda: server.broadcast("thread/archived", {"threadId": id}))
    return {}


def unarchive(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    id = params["threadId"]
    given = threads.stored(server, id)
    if given is None or not threads.is_archived(server, id):
        raise Refusal(f"no archived rollout found for thread id {id}")
    threads.take_out(server, given)
    after(lambda: server.broadcast("thread/unarchived", {"threadId": id}))
    return {"thread": threads.view(given, {"type": "notLoaded"})}


def unsubscribe(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread = _thread(server, params)
    follows = connection in thread.followers
    thread.followers.discard(connection)
    return {"status": "unsubscribed" if follows else "notSubscribed"}


def goal_get(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    return {"goal": _given(server, params["threadId"])[0].get("goal")}


def goal_set(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread, now = _thread(server, params), int(time.time())
    thread.materialize()
    names = ("objective", "status", "tokenBudget")
    new = {"threadId": thread.id, "objective": "", "status": "active", "tokenBudget": None, "tokensUsed": 0}
    known = thread.goal or {**new, "timeUsedSeconds": 0, "createdAt": now}
    goal = {**known, **{key: params[key] for key in names if key in params}, "updatedAt": now}
    thread.given["goal"] = goal

    def tell() -> None:
        thread.set_goal(goal)
        thread.pursue()

    after(tell)
    return {"goal": goal}


def goal_clear(server: Server, connection: Connection, params: Fields, after: After) -> Fields:
    thread = _thread(server, params)
    there = thread.goal is not None
    after(lambda: thread.set_goal(None))
    return {"cleared": there}


METHODS: dict[str, Callable[[Server, Connection, Fields, After], Fields]] = {
    "initialize": initialize,
    "account/read": account,
    "config/read": config,
    "thread/start": start,
    "thread/resume": resume,
    "thread/read": read,
    "thread/turns/list": turns,
    "thread/name/set": name,
    "thread/archive": archive,
    "thread/unarchive": unarchive,
    "thread/unsubscribe": unsubscribe,
    "thread/goal/get": goal_get,
    "thread/goal/set": goal_set,
    "thread/goal/clear": goal_clear,
    "thread/backgroundTerminals/list": terminals,
    "thread/backgroundTerminals/clean": clean,
    "turn/start": turn_start,
    "turn/steer": steer,
    "turn/interrupt": interrupt,
}
