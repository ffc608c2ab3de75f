"""Typed verbs over a transport, for commands, recipes and Python programs.

    >>> from dev_sessions.app import client
    >>> sid = client().create(path="/some/project")["id"]

Every verb raises the errors of `errors`, rebuilt from the wire; a value of a wrong type is a `UsageError` before
anything is sent. Its keyword arguments are the operation's parameters (see `operations`); it returns the JSON that
`--json` prints.
"""

from __future__ import annotations

import os

from .errors import ProtocolError, TimedOut, from_wire
from .operations import to_send
from .wire import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from typing import Any, TypedDict

    from .wire import Transport

    Json = dict[str, Any]

    class Creation(TypedDict, total=False):
        """Arguments of `Client.create` that recipes and commands keep until they create the session."""

        permissions: str
        path: str
        cli: str
        mode: str
        description: str
        model: str | None
        id: str | None
        group: str | None
        env: Mapping[str, str] | None
        trust: bool | None
        continue_at_reset: bool

    Rows = list[Json]  # in the class, `list` is a verb


def new_request_id() -> str:
    """A new, unique request id."""
    return os.urandom(8).hex()


class Client:
    """The verbs.

    Args:
        transport: the way to the service.
        on_event: called with each event of an operation as it happens: {"note": text}, or a part of the result.
    """

    def __init__(self, transport: Transport, on_event: Callable[[Json], None] = lambda event: None) -> None:
        self._transport = transport
        self._on_event = on_event

    def create(
        self,
        request_id: str | None = None,
        *,
        permissions: str = "full",
        path: str = ".",
        cli: str = "claude",
        mode: str = "native",
        description: str = "",
        model: str | None = None,
        id: str | None = None,
        group: str | None = None,
        env: Mapping[str, str] | None = None,
        trust: bool | None = None,
        continue_at_reset: bool = False,
        message: str | None = None,
    ) -> Json:
        """Start an agent; returns its record when it is ready for input. See `service.create.create`."""
        return self._call("create", locals())

    def send(
        self, id: str, text: str | None, request_id: str | None = None, *, queue: bool = False, interrupt: bool = False
    ) -> Json:
        """Give a session a message; returns when the agent has it. See `service.send.send`."""
        return self._call("send", locals())

    def wait(
        self,
        ids: Sequence[str] | None = None,
        *,
        group: str | None = None,
        any: bool = False,
        turn: int | None = None,
        settled: bool = False,
        goal: bool = False,
        next_turn: bool = False,
        timeout: float | None = None,
        interval: float = 1.0,
    ) -> Rows:
        """Wait for sessions, or for those of a `group`; returns an outcome each. See `service.wait.wait`."""
        return self._rows("wait", locals())

    def ask(
        self,
        id: str,
        text: str,
        timeout: float | None = None,
        request_id: str | None = None,
        *,
        queue: bool = False,
        interrupt: bool = False,
    ) -> Json:
        """`send`, then `wait` for exactly that turn: the outcome, with its `reply` and the receipt's `via`.

        Raises:
            TimedOut: `timeout` seconds have passed; the agent goes on.
        """
        receipt = self.send(id, text, request_id, queue=queue, interrupt=interrupt)
        outcome = self.wait([id], turn=receipt["turn"], timeout=timeout)[0]
        if outcome["outcome"] == "timeout":
            raise TimedOut(
                f"{id} did not finish turn {receipt['turn']} within {timeout:g} s; it goes on",
                next=f"dev-sessions wait {id}",
                session=id,
                turn=receipt["turn"],
            )
        reply = next((turn["reply"] for turn in outcome["turns"] if turn["turn"] == receipt["turn"]), None)
        return {
            **outcome,
            "turn": receipt["turn"],
            "receipt": receipt["receipt"],
            "via": receipt["via"],
            "reply": reply,
        }

    def last_message(self, id: str, count: int = 1) -> list[str]:
        """The last assistant texts."""
        texts: list[str] = self._run("last_message", locals())
        return texts

    def status(self, id: str) -> Json:
        """The status of a session, its question and its background work. See `service.status.status`."""
        return self._call("status", locals())

    def pending(self, *, group: str | None = None) -> Rows:
        """Every open question. See `service.questions.pending`."""
        return self._rows("pending", locals())

    def respond(
        self,
        id: str,
        request_id: str | None = None,
        *,
        question: str | None = None,
        allow: bool = False,
        always: bool = False,
        deny: bool = False,
        why: str | None = None,
        choose: Sequence[str] | None = None,
        text: str | None = None,
        answers: Any = None,
        key: str | None = None,
    ) -> Json:
        """Answer one question of a session. See `service.questions.respond`."""
        return self._call("respond", locals())

    def list(self, *, group: str | None = None, status: str | None = None) -> Rows:
        """All sessions with their status."""
        return self._rows("list", locals())

    def interrupt(self, id: str, request_id: str | None = None) -> Json:
        """End the running turn of a session. See `service.interrupt.interrupt`."""
        return self._call("interrupt", locals())

    def revive(self, ids: Sequence[str] | None = None, all: bool = False, request_id: str | None = None) -> Rows:
        """Restart agents that have exited. See `service.revive.revive`."""
        return self._rows("revive", locals())

    def goal(
        self,
        id: str,
        request_id: str | None = None,
        *,
        objective: str | None = None,
        budget: int | None = None,
        act: str | None = None,
    ) -> Json | None:
        """A session's goal, or None; a parameter sets or changes it. See `service.goal.goal`."""
        result: Json | None = self._run("goal", locals())
        return result

    def kill(
        self,
        ids: Sequence[str] | None = None,
        request_id: str | None = None,
        *,
        all: bool = False,
        group: str | None = None,
        older_than: str | None = None,
    ) -> Rows:
        """End agents and archive their sessions. See `service.kill.kill`."""
        return self._rows("kill", locals())

    def logs(self, id: str, follow: bool = False) -> Iterator[Json]:
        """The entries of a session's conversation, oldest first. See `service.logs.logs`."""
        return self._stream("logs", locals())

    def events(self, ids: Sequence[str] | None = None, follow: bool = False) -> Iterator[Json]:
        """What was done to sessions and what their agents reported. See `service.events.events`."""
        return self._stream("events", locals())

    def inspect(self, id: str) -> Json:
        """Everything on record about a session, and where its files are."""
        return self._call("inspect", locals())

    def names(self) -> Rows:
        """Id, description and group of every session, without reading their agents' state."""
        return self._rows("names", locals())

    def attach(self, id: str) -> Json:
        """The command that connects a terminal to a session."""
        return self._call("attach", locals())

    def courier(self, id: str) -> Json:
        """Deliver the queued messages of a session. Called by the detached courier process."""
        return self._call("courier", locals())

    # The arguments of a verb are its operation's parameters: each verb passes its `locals()`.

    def _call(self, op: str, arguments: Json) -> Json:
        result: Json = self._run(op, arguments)
        return result

    def _rows(self, op: str, arguments: Json) -> Rows:
        result: Rows = self._run(op, arguments)
        return result

    def _run(self, op: str, arguments: Json) -> Any:
        """The result of an operation, its events passed on."""
        parts = self._frames(op, arguments)
        while True:
            try:
                self._on_event(next(parts))
            except StopIteration as end:
                return end.value

    def _stream(self, op: str, arguments: Json) -> Iterator[Json]:
        """The events of an operation that are its result; notes go to `on_event`."""
        for event in self._frames(op, arguments):
            if event.keys() == {"note"}:
                self._on_event(event)
            else:
                yield event

    def _frames(self, op: str, arguments: Json) -> Generator[Json, None, Any]:
        """The events of an operation; returns its result."""
        params = {name: _plain(name, value) for name, value in arguments.items() if name not in ("self", "request_id")}
        request = Request(op, to_send(op, params), arguments.get("request_id") or new_request_id())
        for frame in self._transport.handle(request):
            if frame.kind == "event":
                yield frame.value
            elif frame.kind == "result":
                return frame.value
            elif frame.kind == "error":
                raise from_wire(frame.value)
        raise ProtocolError("the service ended without an answer", next="run the same command again")


def _plain(name: str, value: Any) -> Any:
    """A collection as a JSON list or object. Anything else, such as a single text, is passed on and then refused."""
    if name in ("ids", "choose") and hasattr(value, "__iter__") and not isinstance(value, str):
        return [*value]
    return dict(value) if name == "env" and hasattr(value, "keys") else value
