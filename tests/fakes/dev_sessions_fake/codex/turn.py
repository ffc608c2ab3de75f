"""A turn: the script of its prompt, and of those that were steered into it."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

from .commands import Command, as_item
from .rollout import shown_error, shown_item, shown_turn
from .script import Step, new_id, now_ms, steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .threads import Thread

# For this long after the answer to turn/start, a turn is not visible anywhere. Seconds.
_LAG = 0.02
_TICK = 0.01
_RETRY = 0.2
_YIELD, _YIELD_LEFT = 30.0, 0.25
Fields = dict[str, Any]


class Interrupted(Exception):
    """The turn is to end."""


class Failed(Exception):
    """The model's server refuses."""


class Asked:
    """A request to all clients of the thread; the first answer counts."""

    def __init__(self, thread: Thread, method: str, params: Fields) -> None:
        server = thread.server
        self.id, self._thread = server.asked, thread
        self.result: Fields | None = None
        server.asked += 1
        server.requests[self.id] = self
        self.frame = {"method": method, "id": self.id, "params": params}
        for connection in thread.followers:
            connection.send(self.frame)

    def answered(self, result: Fields | None) -> None:
        if self._thread.server.requests.pop(self.id, None) is not None:
            self.result = result
            self._thread.tell("serverRequest/resolved", requestId=self.id)


class Turn(threading.Thread):
    """One turn of a thread.

    Args:
        text, client: the prompt, and the client's id of it.
        goal: nobody has given it; the text is the objective.
    """

    def __init__(self, thread: Thread, text: str, client: str | None, goal: bool) -> None:
        super().__init__(daemon=True)
        self.id, self._thread, self._goal = new_id(), thread, goal
        self._given, self._script = [(text, client)], steps(text)
        self._began, self._stop, self._told = 0, threading.Event(), False
        self._results: list[str] = []
        self._said: Fields | None = None
        self._speaks = False
        self.asked: Asked | None = None

    # From other threads, under the server's lock.

    def steer(self, text: str, client: str | None) -> None:
        self._given.append((text, client))

    def interrupt(self) -> None:
        self._stop.set()

    # The life of it.

    def run(self) -> None:
        first = self._script
        outcome, words = "completed", None
        try:
            self._until(lambda: all(self._thread.released(step.argument) for step in first if step.verb == "late"))
            self._stop.wait(_LAG)
            self._work(self._begin() or first)
            return  # its end has been reported
        except Interrupted:
            outcome = "interrupted"
        except Failed as error:
            outcome, words = "failed", str(error)
        with self._thread.server.lock:
            self.finish(outcome, words)

    def tell_beginning(self) -> None:
        """Write to the rollout and report that the turn has begun. The caller holds the server's lock."""
        thread, given = self._thread, self._thread.given
        self._told, self._began = True, int(time.time())
        thread.rollout.event("task_started", turn_id=self.id, root_turn_id=self.id, started_at=self._began)
        thread.rollout.context(self.id, cwd=thread.cwd, approval_policy=given["policy"], model=given["model"])
        thread.be("active")
        thread.tell("turn/started", turn=shown_turn(self.id, "inProgress", self._began))
        if self._goal:
            del self._given[0]  # the objective, which is not a prompt of anybody

    def _begin(self) -> list[Step] | None:
        with self._thread.server.lock:
            if self._stop.is_set():
                raise Interrupted
            if not self._told:
                self.tell_beginning()
            return self._take()

    def _work(self, script: list[Step]) -> None:
        while True:
            following = self._respond(script)
            with self._thread.server.lock:
                if following is None:
                    following = self._take()
                if following is None:
                    self.finish("completed")
                    return
            script = following

    def _respond(self, script: list[Step]) -> list[Step] | None:
        """Carry out a script. What was steered in takes the place of its rest: behind a running tool, when a silent
        model begins to answer, and at once when it has begun."""
        self._speaks = False
        for step in script:
            self._look()
            with self._thread.server.lock:
                if (following := self._take()) is not None:
                    return following
            if step.verb in ("ask", "bash", "bash_bg", "tool"):
                self._tool(step)
                self._speaks = False
            else:
                self._say(step)
        return None

    def _take(self) -> list[Step] | None:
        """Take the steered messages; returns the script of the last one."""
        given, self._given = self._given, []
        for text, client in given:
            began = now_ms()
            content = [{"type": "text", "text": text, "text_elements": []}]
            item = {"type": "UserMessage", "id": new_id(), "client_id": client, "content": content}
            self._thread.rollout.message(self.id, "user", f"msg_{new_id()}", text)
            self._thread.begun(self.id, item, began)
            self._thread.item(self.id, item, began)
        return steps(given[-1][0]) if given else None

    def finish(self, outcome: str, words: str | None = None) -> None:
        """Write to the rollout and report that the turn has ended. The caller holds the server's lock."""
        thread, now = self._thread, int(time.time())
        if thread.turn is not self:
            return
        times = {"started_at": self._began, "completed_at": now}
        error = shown_error(words) if words is not None else None
        if outcome == "interrupted" and self._told:
            thread.rollout.event(
                "turn_aborted", turn_id=self.id, root_turn_id=self.id, reason="interrupted", **times, duration_ms=0
            )
        elif self._told:
            self._write_end(words, times)
        thread.be("systemError" if error else "idle")
        if error:
            thread.tell("error", error=error, willRetry=False, turnId=self.id)
        items = [self._said] if self._said and outcome == "completed" else []
        view = "summary" if items else "notLoaded"
        turn = {**shown_turn(self.id, outcome, self._began), "items": items, "itemsView": view, "error": error}
        thread.tell("turn/completed", turn={**turn, "completedAt": now, "durationMs": 0})
        if self.asked is not None:
            self.asked.answered(None)
        thread.turn_over(outcome == "interrupted")

    def _write_end(self, words: str | None, times: Fields) -> None:
        last = self._said["text"] if self._said else None
        error = {"error": {"message": words, "codex_error_info": "other"}} if words is not None else {}
        told = {"turn_id": self.id, "root_turn_id": self.id, "last_agent_message": None if error else last}
        self._thread.rollout.event("task_complete", **told, **error, **times, duration_ms=0)

    # Steps.

    def _say(self, step: Step) -> None:
        match step.verb:
            case "reply" | "stream":
                self._reply(step.argument)
            case "replytool":
                last = self._results[-1] if self._results else ""
                self._reply(last.partition("\nOutput:\n")[2] if "\nOutput:\n" in last else last)
            case "delay":
                end = time.monotonic() + float(step.argument)
                self._until(lambda: time.monotonic() >= end or self._cut())
            case "hold":
                self._until(lambda: self._thread.released(step.argument) or self._cut())
            case "deaf":
                while not self._thread.released(step.argument):
                    time.sleep(_TICK)
            case "error":
                number = step.argument.isdecimal()
                message = f"scripted error {step.argument}" if number else step.argument
                raise Failed(json.dumps({"error": {"type": "invalid_request_error", "message": message}}))
            case "unreachable":
                while True:
                    self._complain()
            case "die":
                os._exit(1)

    def _complain(self) -> None:
        why = {"responseStreamDisconnected": {"httpStatusCode": None}}, "Connection failed: error sending request"
        error = shown_error("Reconnecting... waiting for network")
        error |= {"codexErrorInfo": why[0], "additionalDetails": why[1]}
        with self._thread.server.lock:
            self._thread.tell("error", error=error, willRetry=True, turnId=self.id)
        again = time.monotonic() + _RETRY
        self._until(lambda: time.monotonic() >= again)

    def _cut(self) -> bool:
        """The model has begun to answer when another message arrives."""
        return self._speaks and bool(self._given)

    def _reply(self, text: str) -> None:
        self._speaks = True
        if not text:
            return
        thread, id, began = self._thread, f"msg_{new_id()}", now_ms()
        item = {"type": "AgentMessage", "id": id, "content": [{"type": "Text", "text": text}]}
        with thread.server.lock:
            thread.begun(self.id, {**item, "content": []}, began)
            thread.tell("item/agentMessage/delta", turnId=self.id, itemId=id, delta=text)
            thread.item(self.id, item, began)
            thread.rollout.message(self.id, "assistant", id, text)
            self._said = shown_item(item, began, now_ms())

    def _tool(self, step: Step) -> None:
        name, given = _call(step)
        id = f"call_{new_id()}"
        with self._thread.server.lock:
            self._thread.rollout.call(self.id, name, given, id)
        match name:
            case "exec_command":
                result = self._execute(id, given)
            case "request_user_input":
                result = self._question(id, given)
            case _:
                with self._thread.server.lock:
                    self._thread.set_goal({**(self._thread.goal or {}), **given})
                result = "ok"
        self._results.append(result)
        with self._thread.server.lock:
            self._thread.rollout.output(self.id, id, result)

    def _execute(self, id: str, given: Fields) -> str:
        thread, text = self._thread, given["cmd"]
        policy, escalated = thread.given["policy"], given.get("sandbox_permissions") == "require_escalated"
        careful = policy == "untrusted" or (policy == "on-request" and escalated)
        if careful:
            decision = self._approval(id, given)
            if decision in ("decline", "cancel"):
                with thread.server.lock:
                    thread.item(self.id, as_item(id, text, thread.cwd, "declined"), now_ms())
                if decision == "cancel":
                    raise Interrupted
                return "exec_command failed: rejected by user"
        command = Command(thread, self.id, id, text)
        if not careful:
            with thread.server.lock:
                # It may have ended by now; its start is reported as such all the same.
                begun = {**command.item(), "status": "in_progress", "aggregated_output": "", "exit_code": None}
                thread.begun(self.id, begun, command.began)
        self._follow(command, given["yield_time_ms"] / 1000)
        return command.result()

    def _follow(self, command: Command, seconds: float) -> None:
        """Wait for a command; an interrupt leaves it running, as do more than so many seconds."""
        end = time.monotonic() + seconds
        try:
            self._until(lambda: command.over.is_set() or time.monotonic() >= end)
        finally:
            with self._thread.server.lock:
                if command.over.is_set():
                    self._thread.item(self.id, command.item(), command.began)
                else:
                    self._thread.leave(command)

    def _approval(self, id: str, given: Fields) -> str:
        thread, text = self._thread, given["cmd"]
        began, item = now_ms(), as_item(id, text, thread.cwd, "in_progress")
        amendment = {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": [text]}}
        params = {"kind": "command", "threadId": thread.id, "turnId": self.id, "itemId": id, "startedAtMs": began}
        params |= {"environmentId": "local", "reason": given.get("justification"), "command": f"/bin/bash -lc {text}"}
        params |= {"cwd": thread.cwd, "commandActions": [{"type": "unknown", "command": text}]}
        params |= {"proposedExecpolicyAmendment": [text], "availableDecisions": ["accept", amendment, "cancel"]}
        with thread.server.lock:
            thread.begun(self.id, item, began)
        decision = self._ask("waitingOnApproval", "item/commandExecution/requestApproval", params)["decision"]
        return decision if isinstance(decision, str) else "accept"

    def _question(self, id: str, given: Fields) -> str:
        questions = [{**one, "isOther": True, "isSecret": False} for one in given["questions"]]
        params: Fields = {"threadId": self._thread.id, "turnId": self.id, "itemId": id, "questions": questions}
        params |= {"isBlocking": False, "autoResolutionMs": None}
        return json.dumps(self._ask("waitingOnUserInput", "item/tool/requestUserInput", params))

    def _ask(self, flag: str, method: str, params: Fields) -> Fields:
        thread = self._thread
        with thread.server.lock:
            thread.be("active", flag)
            asked = self.asked = Asked(thread, method, params)
        self._until(lambda: asked.result is not None)
        with thread.server.lock:
            self.asked = None
            thread.be("active")
        return asked.result or {}

    def _look(self) -> None:
        if self._stop.is_set():
            raise Interrupted

    def _until(self, condition: Any) -> None:
        while not condition():
            if self._stop.wait(_TICK):
                raise Interrupted


def _call(step: Step) -> tuple[str, Fields]:
    """The model's call for a tool step: name and input."""
    head, _, rest = step.argument.partition(" " if step.verb == "tool" else "|")
    match step.verb:
        case "ask":
            options = [{"label": label, "description": f"Choose {label}"} for label in rest.split("|")]
            return "request_user_input", {
                "questions": [{"id": "choice", "header": "Choice", "question": head, "options": options}]
            }
        case "tool":
            more = {"yield_time_ms": 30_000} if head == "exec_command" else {}
            return head, {**more, **json.loads(rest or "{}")}
    seconds = _YIELD_LEFT if step.verb == "bash_bg" else _YIELD
    return "exec_command", {"cmd": step.argument, "yield_time_ms": int(seconds * 1000)}
