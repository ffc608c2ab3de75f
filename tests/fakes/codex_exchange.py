"""An exchange with an app-server that contains everything that dev-sessions relies on, and its recording.

    python tests/fakes/codex_exchange.py CODEX tests/data/codex-VERSION

holds it with the real program. `test_codex_fake.py` holds it with the fake one, and compares what each has said.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from lab import ROOT
from websockets.sync.client import unix_connect

SECONDS = 30.0
NOBODY = "01a205f0-8ff2-7551-9e1e-85ec9b002368"
ASK = "[[ask: Which?|A|B]][[reply: thanks]]"
ESCALATED = json.dumps({"cmd": "true", "sandbox_permissions": "require_escalated", "justification": "May I?"})
PERMISSION = f"[[tool: exec_command {ESCALATED}]][[reply: done]]"

Frame = dict[str, Any]


class Stage(Protocol):
    """Where the talk is held."""

    socket: str
    project: str

    def release(self, thread: str, name: str) -> None:
        """Let a script go on that holds."""


class Line:
    """One connection. The server's messages are kept in `told`, in their order.

    Args:
        socket: the server's.
        greet: say who we are, as every client has to.
    """

    def __init__(self, socket: str, greet: bool = True) -> None:
        path = os.path.realpath(socket)  # sun_path of unix(7) holds no long ones
        self._closing = ExitStack()
        self._socket = self._closing.enter_context(
            unix_connect(path, uri="ws://localhost/", compression=None, max_size=None, close_timeout=1)
        )
        self._count = 0
        self.told: list[Frame] = []
        self.asked: dict[int, str] = {}
        if greet:
            client = {"name": "dev-sessions", "title": "dev-sessions", "version": "0.1.0"}
            self.ask("initialize", clientInfo=client, capabilities={"experimentalApi": True})
            self.say({"method": "initialized"})

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def say(self, frame: Frame) -> None:
        self._socket.send(json.dumps(frame))

    def ask(self, method: str, **params: Any) -> Frame:
        """The server's answer: a frame with `result` or `error`."""
        self._count += 1
        self.asked[self._count] = method
        self.say({"id": self._count, "method": method, "params": params})
        return self.until(lambda frame: "method" not in frame and frame["id"] == self._count)

    def answer(self, request: Frame, result: Frame) -> None:
        """Answer a request of the server."""
        self.say({"id": request["id"], "result": result})

    def until(self, wanted: Callable[[Frame], bool], since: int = 0) -> Frame:
        """The first such frame, of those that came (from the `since`th on) or will come."""
        for frame in self.told[since:]:
            if wanted(frame):
                return frame
        while True:
            frame = json.loads(self._socket.recv(SECONDS))
            self.told.append(frame)
            if wanted(frame):
                return dict(frame)

    def notice(self, method: str, since: int = 0) -> Frame:
        return self.until(lambda frame: frame.get("method") == method, since)


def hold(stage: Stage) -> list[Line]:
    """The talk. Returns its connections."""
    with Line(stage.socket, greet=False) as mute, Line(stage.socket) as talker, Line(stage.socket) as other:
        mute.ask("thread/read", threadId=NOBODY)
        thread = _born(stage, talker, "never", "danger-full-access")
        _early(talker, other, stage)
        _turns(stage, talker, other, thread)
        _left_running(stage, talker, thread)
        _question(stage, talker, thread)
        _goal(stage, talker, thread)
        _refusals(talker, thread)
        careful = _born(stage, talker, "untrusted", "read-only")
        _permission(talker, careful)
        _unreachable(stage, talker)
        _end(talker, thread, careful)
        return [mute, talker, other]


def _born(stage: Stage, line: Line, policy: str, sandbox: str) -> str:
    more = {"features.default_mode_request_user_input": True, "suppress_unstable_features_warning": True}
    started = line.ask("thread/start", cwd=stage.project, approvalPolicy=policy, sandbox=sandbox, config=more)
    thread = str(started["result"]["thread"]["id"])
    line.ask("account/read", refreshToken=False)
    line.ask("thread/name/set", threadId=thread, name="a name")
    line.ask("thread/read", threadId=thread)
    line.ask("thread/goal/get", threadId=thread)
    line.ask("thread/backgroundTerminals/list", threadId=thread)
    return thread


def _early(line: Line, other: Line, stage: Stage) -> None:
    """Other clients cannot read a thread without a name."""
    unnamed = line.ask("thread/start", cwd=stage.project)["result"]["thread"]["id"]
    other.ask("thread/resume", threadId=unnamed, excludeTurns=True)
    line.ask("thread/archive", threadId=unnamed)


def _turn(line: Line, thread: str, text: str, id: str) -> str:
    given = [{"type": "text", "text": text}]
    since = len(line.told)
    answer = line.ask("turn/start", threadId=thread, input=given, clientUserMessageId=id)
    line.notice("turn/started", since)
    return str(answer["result"]["turn"]["id"])


def _over(line: Line, turn: str) -> None:
    line.until(lambda frame: frame.get("method") == "turn/completed" and frame["params"]["turn"]["id"] == turn)


def _turns(stage: Stage, talker: Line, other: Line, thread: str) -> None:
    turn = _turn(talker, thread, "[[hold: a]][[reply: one]]", "key/1")
    talker.until(lambda frame: _is_item(frame, "item/completed", "userMessage"))
    other.ask("thread/read", threadId=thread)
    other.ask("thread/resume", threadId=thread, excludeTurns=True, initialTurnsPage={"limit": 1, "itemsView": "full"})
    given = [{"type": "text", "text": "[[reply: two]]"}]
    other.ask("turn/steer", threadId=thread, expectedTurnId="nope", input=given, clientUserMessageId="key/0")
    other.ask("turn/steer", threadId=thread, expectedTurnId=turn, input=given, clientUserMessageId="key/2")
    stage.release(thread, "a")
    _over(talker, turn)
    _over(other, turn)
    other.ask("thread/turns/list", threadId=thread, limit=1, itemsView="full")
    for id, script in enumerate(("[[bash: echo out]][[replytool]]", "[[error: 400]]", "[[reply: again]]"), 3):
        _over(talker, _turn(talker, thread, script, f"key/{id}"))
    turn = _turn(talker, thread, "[[bash: exec sleep 600]]", "key/6")
    talker.until(
        lambda frame: _is_item(frame, "item/started", "commandExecution") and frame["params"]["turnId"] == turn
    )
    talker.ask("turn/interrupt", threadId=thread, turnId=turn)
    _over(talker, turn)
    talker.ask("thread/backgroundTerminals/list", threadId=thread)
    talker.ask("thread/backgroundTerminals/clean", threadId=thread)
    talker.ask("thread/turns/list", threadId=thread, limit=2, itemsView="summary")


def _left_running(stage: Stage, line: Line, thread: str) -> None:
    """A command that outlives its turn."""
    gate = os.path.join(stage.project, "gate")
    os.mkfifo(gate)
    since = len(line.told)
    _over(line, _turn(line, thread, f"[[bash_bg: cat '{gate}']][[reply: left it]]", "key/8"))
    line.ask("thread/backgroundTerminals/list", threadId=thread)
    Path(gate).write_text("over")
    line.until(lambda frame: _is_item(frame, "item/completed", "commandExecution"), since)
    line.ask("thread/backgroundTerminals/list", threadId=thread)


def _is_item(frame: Frame, method: str, kind: str) -> bool:
    return frame.get("method") == method and frame["params"]["item"]["type"] == kind


def _question(stage: Stage, talker: Line, thread: str) -> None:
    turn = _turn(talker, thread, ASK, "key/7")
    asked = talker.notice("item/tool/requestUserInput")
    with Line(stage.socket) as late:
        late.ask("thread/read", threadId=thread)
        late.ask("thread/resume", threadId=thread, excludeTurns=True)
        again = late.notice("item/tool/requestUserInput")
        assert again == asked
        late.answer(again, {"answers": {"choice": {"answers": ["B"]}}})
        late.notice("serverRequest/resolved")
    _over(talker, turn)


def _permission(line: Line, thread: str) -> None:
    for id, decision in enumerate(("accept", "decline", "cancel"), 1):
        since = len(line.told)
        turn = _turn(line, thread, PERMISSION, f"careful/{id}")
        asked = line.notice("item/commandExecution/requestApproval", since)
        line.ask("thread/read", threadId=thread)
        line.answer(asked, {"decision": decision})
        _over(line, turn)


def _unreachable(stage: Stage, line: Line) -> None:
    """An unreachable model: the real program gets an address without a listener, the fake one a directive."""
    nowhere = {"model_providers.offline.base_url": "http://127.0.0.1:9/v1"}
    started = line.ask("thread/start", cwd=stage.project, approvalPolicy="never", config=nowhere)
    thread = str(started["result"]["thread"]["id"])
    turn = _turn(line, thread, "[[unreachable]]", "lost/1")
    line.until(lambda frame: frame.get("method") == "error" and frame["params"]["willRetry"])
    line.ask("turn/interrupt", threadId=thread, turnId=turn)
    _over(line, turn)


def _goal(stage: Stage, line: Line, thread: str) -> None:
    since = len(line.told)
    line.ask("thread/goal/set", threadId=thread, objective="[[hold: g]][[reply: a step]]", tokenBudget=1_000_000)
    turn = line.notice("turn/started", since)["params"]["turn"]["id"]
    line.ask("thread/goal/get", threadId=thread)
    line.ask("thread/goal/set", threadId=thread, status="paused")
    stage.release(thread, "g")
    _over(line, turn)
    line.ask("thread/goal/clear", threadId=thread)


def _refusals(line: Line, thread: str) -> None:
    given = {"input": [{"type": "text", "text": "x"}]}
    line.ask("thread/nosuch", threadId=thread)
    line.ask("turn/start", threadId=thread, input=[{"type": "text", "text": "x" * 1_048_577}])
    line.ask("turn/start", threadId=NOBODY, **given)
    line.ask("thread/resume", threadId=NOBODY, excludeTurns=True)
    line.ask("thread/read", threadId=NOBODY)
    line.ask("turn/steer", threadId=thread, expectedTurnId=NOBODY, **given)
    line.ask("turn/interrupt", threadId=thread, turnId=NOBODY)
    line.ask("turn/interrupt", threadId=thread, turnId="")


def _end(line: Line, thread: str, careful: str) -> None:
    line.ask("thread/unsubscribe", threadId=careful)
    line.ask("thread/unsubscribe", threadId=careful)
    line.ask("thread/archive", threadId=thread)
    line.notice("thread/archived")
    line.ask("thread/resume", threadId=thread, excludeTurns=True)
    line.ask("turn/start", threadId=thread, input=[{"type": "text", "text": "x"}])


def main() -> None:
    from codex_lab import CodexLab

    with CodexLab(os.path.realpath(sys.argv[1])) as lab:
        lines = hold(_Real(lab))
        rows = [
            {"line": number, "asked": line.asked.get(frame.get("id", -1)), "frame": frame}
            for number, line in enumerate(lines)
            for frame in line.told
            if frame.get("method") != "configWarning"  # about the machine of the recording
        ]
        written = sorted(lab.codex_home.glob("*sessions/**/rollout-*.jsonl"))
        _save("exchange.jsonl", rows, lab)
        _save("rollout.jsonl", _kinds([json.loads(line) for path in written for line in path.open()]), lab)


def _kinds(lines: list[Frame]) -> list[Frame]:
    """One line of each kind."""
    found: dict[tuple[str, ...], Frame] = {}
    for line in lines:
        payload = line["payload"]
        item = payload.get("item") or {}
        key = (line["type"], payload.get("type"), payload.get("role"), item.get("type"), item.get("status"))
        found.setdefault(tuple(map(str, key)), line)
    return list(found.values())


def _save(name: str, rows: list[Frame], lab: Any) -> None:
    """Save without anything of this machine, and with long texts cut off."""
    with Path(sys.argv[2], name).open("w") as file:
        for row in rows:
            shown = json.dumps(_cut(row), separators=(",", ":"), ensure_ascii=False)
            shown = shown.replace(str(lab.path), "/lab").replace(str(ROOT), "/checkout")
            shown = re.sub(r'("(?:git|gitInfo)"): ?\{[^}]*\}', r"\1:null", shown)
            file.write(re.sub(r'("serverName"): ?"[^"]*"', r'\1:"host"', shown) + "\n")


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:250]
    if isinstance(value, list):
        return [_cut(one) for one in value]
    return {key: _cut(one) for key, one in value.items()} if isinstance(value, dict) else value


class _Real:
    """The real program in a lab of its own."""

    def __init__(self, lab: Any) -> None:
        import subprocess

        self._lab = lab
        self.project = str(lab.project)
        self.socket = str(lab.codex_home / "app-server-control" / "app-server-control.sock")
        argv = [lab.env["DEV_SESSIONS_CODEX"], "app-server", "--listen", "unix://"]
        log = (lab.path / "server.log").open("w")
        subprocess.Popen(argv, env={**lab.env, "CODEX_HOME": str(lab.codex_home)}, cwd="/", stderr=log)
        lab.until(Path(self.socket).exists, "the server's socket")

    def release(self, thread: str, name: str) -> None:
        self._lab.model.release(name)


if __name__ == "__main__":
    main()
