r"""An offline stand-in for the Anthropic Messages API, scripted by the prompts themselves.

A prompt holds directives, `[[verb: argument]]`, which are carried out in order.  A tool step ends
the response; the request with the tool's result goes on behind it: the results since the prompt are
counted, so no state is kept.  Without a directive the prompt is echoed.

    reply: TEXT      a text block                       stream: TEXT   the same in small deltas
    delay: SECONDS   wait                               hold: NAME     wait until NAME is released
    bash: COMMAND    Bash                               bash_bg: CMD   Bash in the background
    read: PATH       Read                               write: P|TEXT  Write
    tool: NAME JSON  any tool                           plan: TEXT     ExitPlanMode
    ask: Q|A|B       AskUserQuestion                    replytool      the last tool result as text
    sha: PATH        sha256sum, then its output         drop           close without an answer
    and              between two tools: both in one response, before the result of either
    error: STATUS    an API error, always               error: STATUS xN   the first N times only
    limit: TIME      the account is at its usage limit, which resets then (seconds since the epoch; without
                     a TIME it does not say when); what is behind it is done if the agent goes on by itself

    agent: NAME|SCRIPT  Agent, a subagent with SCRIPT as its prompt; directives in its reply are what the
                     agent that started it does when it wakes up (an argument may hold directives)

`\n` in a TEXT is a newline.  A prompt that only points at a message file makes the agent `cat` it,
and the directives found there are carried out.  Side requests (titles, summaries, quota probes) are
answered `ok` at once and never run a directive.  `POST /control/release/NAME` releases a held name
for good, `GET /control/waiting` lists the names held now.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import select
import socket
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import responses

TOOL_VERBS = ("agent", "ask", "bash", "bash_bg", "plan", "read", "sha", "tool", "write")
OTHER_VERBS = ("and", "delay", "drop", "error", "hold", "limit", "reply", "replytool", "stream")
ERROR_TYPES = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
ERROR_TYPES |= {529: "overloaded_error"}  # any other: api_error
POINTER_WORDS = ("dev-sessions", "message", "file")  # all in a prompt that points at a message file
PING_SECONDS = 0.5

# An argument may hold `[[ … ]]` itself, as shell code, JSON and scripts do (atomic, lest long texts take for ever).
_INNER = r"\[\[(?:(?!\[\[|\]\]).)*\]\]"
for _ in range(3):
    _INNER = rf"(?>\[\[(?:{_INNER}|(?!\[\[|\]\]).)*\]\])"
_VERB, _ARGUMENT = "|".join(TOOL_VERBS + OTHER_VERBS), rf"(?>{_INNER}|.)*?"
_DIRECTIVE = re.compile(rf"\[\[({_VERB})(?::({_ARGUMENT}))?\]\](?![\]}}])", re.DOTALL)
# What the CLI adds to a user message by itself; none of it is the user's words.
_TAGS = r"system-reminder|task-notification|(?:local-)?command-\w+|bash-\w+"
_ADDED = re.compile(rf"<({_TAGS})\b[^>]*>.*?</\1>", re.DOTALL)
# A message typed during a tool call comes wrapped in words of the CLI (older ones: in a reminder).
_STEERED = re.compile(
    r"(?s)\s*(?:<system-reminder>\s*)?[\w ]+ sent a (?:new )?message while you were working:\n(.*?)"
    r"(?:\n\n(?:This is how|This came from|IMPORTANT:)[^\n]*)*\s*(?:</system-reminder>\s*)?$"
)
# Older ones put several of them into the result of the tool, or into one note of the system.
_STEERED_IN = re.compile(
    r"(?s)[\w ]+ sent a (?:new )?message while you were working:\n(.*?)"
    r"\n\n(?=This is how|This came from|IMPORTANT:)"
)
# The prompt with which Claude goes on by itself when a limit has reset.
_CONTINUED = re.compile(r"^Your claude\.ai usage limit has reset\.")
# A subagent's last reply, as the CLI passes it to the agent that started it.
_RESULT = re.compile(r"<task-notification>.*?<result>(.*?)</result>.*?</task-notification>", re.DOTALL)
# The output of a Stop hook that makes the agent go on.
_HOOKED = re.compile(r"Stop hook feedback:\n(.*?)(?:</system-reminder>|\Z)", re.DOTALL)
# How the CLI asks again when a response was blank; newer ones do so in a reminder.
_BLANK = re.compile(r"previous response had no visible output")
_PASTE_TAGS = re.compile(r"</?pasted_content\b[^>]*>")
_PATH = re.compile(r"(?<![\w.:/~-])/[^\s\"'`<>|;&()]*[\w-]")


class Step(NamedTuple):
    """One directive: a verb and its argument."""

    verb: str
    argument: str


class Request(NamedTuple):
    """One request to the messages endpoint, as it came in."""

    time: float
    path: str
    side: bool
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """The user's words that this request answers."""
        return find_prompt(self.body)[0]


def parse_directives(text: str) -> list[Step]:
    """The directives in a text, in order; `sha` comes out as its two steps."""
    steps: list[Step] = []
    for verb, argument in _DIRECTIVE.findall(text):
        steps.append(Step(verb, argument.strip()))
        if verb == "sha":
            steps.append(Step("replytool", "200"))
    return steps


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def find_prompt(body: dict[str, Any]) -> tuple[str, list[str]]:
    """The newest prompt of the running turn, and the tool results that came after it.

    Steered words without a directive leave the running script as it is.
    """
    prompt, results = "", list[str]()
    for message in body["messages"]:
        role, blocks = message["role"], _blocks(message["content"])
        if role == "assistant" and not any(block["type"] == "tool_use" for block in blocks):
            prompt, results = "", []  # An answer without a tool call ended the turn before.
        # The role "system" has the CLI's own notes, but may also have text that was typed meanwhile.
        for block in blocks if role in ("user", "system") else []:
            text = _PASTE_TAGS.sub("", block.get("text", ""))
            steered = _STEERED.match(text)
            said = _RESULT.search(text)
            own = said[1] if said and parse_directives(said[1]) else _ADDED.sub("", text)
            words = (steered[1] if steered else own).strip() if role == "user" else ""
            scripted = parse_directives(words) or message_file(words)
            if block["type"] == "tool_result":
                text = "\n".join(b.get("text", "") for b in _blocks(block.get("content")))
                results.append(text)
            elif _BLANK.search(text):
                prompt, results = "go on", []
            elif hooked := _HOOKED.search(text):
                prompt, results = hooked[1].strip(), []
            elif words.startswith("[Request interrupted by user"):
                prompt, results = "", []
            elif _CONTINUED.match(words):
                prompt, results = re.split(r"\[\[limit[^\]]*\]\]", prompt, maxsplit=1)[-1], []
            elif words and (scripted or not steered or not prompt):
                prompt, results = words, []
            if role == "system" or block["type"] == "tool_result":
                for inside in _STEERED_IN.findall(text):
                    if parse_directives(inside) or message_file(inside):
                        prompt, results = inside.strip(), []
    return prompt, results


def message_file(text: str) -> str | None:
    """The file that a prompt points at instead of holding the message."""
    found = _PATH.search(text)
    return found[0] if found and all(word in text.lower() for word in POINTER_WORDS) else None


def is_side_request(body: dict[str, Any]) -> bool:
    """True if the CLI makes the request for itself (title, summary, probe, classifier), not for a turn."""
    forced = (body.get("tool_choice") or {}).get("type") in ("tool", "any")
    return not body.get("tools") or forced or body.get("max_tokens", 1024) <= 16


def _verdict(body: dict[str, Any]) -> str | None:
    """The answer when the CLI asks whether its goal (`/goal`) is reached: yes once the agent has written "reached"."""
    schema = (body.get("output_config") or {}).get("format", {}).get("schema", {})
    if "ok" not in schema.get("properties", {}):
        return None
    said = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
    reached = "reached" in json.dumps(said[-1:])
    return json.dumps({"ok": reached, "reason": "[[hold: goal]][[reply: reached]]"})


def plan_answer(body: dict[str, Any]) -> tuple[str, list[Step], list[str]]:
    """The prompt, the steps that are still to do for it, and the tool results so far."""
    if is_side_request(body):
        return "", [Step("reply", _verdict(body) or "ok")], []
    prompt, results = find_prompt(body)
    steps, script, left = parse_directives(prompt), prompt, len(results)
    if not steps and (path := message_file(prompt)):
        if not results:
            return prompt, [Step("bash", f"cat '{path}' | head -c 100000")], []
        # The agent has read the file: from here on its text is the script.
        script, left = results[0], left - 1
        steps = parse_directives(script)
    if script and not steps:
        steps = [Step("reply", f"echo: {script[:200]}")]
    while left and steps:
        left -= steps.pop(0).verb in TOOL_VERBS
    return prompt, steps, results


def tool_call(step: Step) -> tuple[str, dict[str, Any]]:
    """The tool's name and input for a tool step."""
    verb, argument = step
    head, _, rest = argument.partition(" " if verb == "tool" else "|")
    match verb:
        case "read":
            return "Read", {"file_path": argument}
        case "write":
            return "Write", {"file_path": head.strip(), "content": rest.replace("\\n", "\n")}
        case "plan":
            return "ExitPlanMode", {"plan": argument.replace("\\n", "\n")}
        case "tool":
            return head, json.loads(rest or "{}")
        case "agent":
            return "Agent", {"description": head.strip(), "prompt": rest, "subagent_type": "general-purpose"}
        case "ask":
            labels = [label.strip() for label in rest.split("|")]
            options = [{"label": label, "description": f"Choose {label}"} for label in labels]
            asked = {"question": head.strip(), "header": "Choice", "multiSelect": False}
            return "AskUserQuestion", {"questions": [asked | {"options": options}]}
    command = f"sha256sum {argument}" if verb == "sha" else argument
    background = {"run_in_background": True} if verb == "bash_bg" else {}
    return "Bash", {"command": command, "description": "Run the scripted command", **background}


def _limited(resets_at: int) -> dict[str, object]:
    """The headers by which Anthropic reports that a subscriber has reached the limit of five hours."""
    prefix = "anthropic-ratelimit-unified-"
    return {
        f"{prefix}status": "rejected",
        f"{prefix}reset": resets_at,
        f"{prefix}representative-claim": "five_hour",
        f"{prefix}5h-status": "rejected",
        f"{prefix}5h-reset": resets_at,
        f"{prefix}5h-utilization": 1.0,
        "retry-after": 3600,
    }


class _Answer:
    """One response of the messages endpoint, streamed or in one piece."""

    def __init__(self, handler: _Handler, body: dict[str, Any]) -> None:
        self.handler = handler
        self._stream = bool(body.get("stream"))
        self._content: list[dict[str, Any]] = []
        self._usage = {"input_tokens": 100, "output_tokens": 1}  # Small: a large count makes the CLI compact.
        self._message: dict[str, Any] = {"type": "message", "role": "assistant", "content": []}
        self._message |= {"id": f"msg_{uuid.uuid4().hex}", "model": body.get("model")}
        self._message |= {"stop_reason": None, "stop_sequence": None, "usage": self._usage}
        self.begun = False

    def event(self, name: str, **data: Any) -> None:
        if self._stream and not self.begun:
            self.begun = True
            # No length: the end of the connection is the end of the answer.
            self.handler.send_head(200, "text/event-stream", ("Connection", "close"))
            self.event("message_start", message=self._message)
        if self._stream:
            line = json.dumps({"type": name} | data)
            self.handler.wfile.write(f"event: {name}\ndata: {line}\n\n".encode())

    def text(self, text: str, size: int = 0) -> None:
        """A text block, if there is text; with a size, in deltas of that many characters."""
        starts = range(0, len(text), size or len(text) or 1)
        deltas = [{"type": "text_delta", "text": text[i:][: size or None]} for i in starts]
        if text:
            self._block({"type": "text", "text": ""}, deltas, {"text": text})

    def tool(self, name: str, given: dict[str, Any]) -> None:
        block = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": name}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(given)}
        self._block(block | {"input": {}}, [delta], {"input": given})

    def _block(self, empty: dict[str, Any], deltas: list[Any], full: dict[str, Any]) -> None:
        index = len(self._content)
        self._content.append(empty | full)
        self.event("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            self.event("content_block_delta", index=index, delta=delta)
        self.event("content_block_stop", index=index)

    def fail(self, status: int, message: str) -> None:
        error = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
        if self.begun:
            self.event("error", error=error)
        else:
            self.handler.send_json({"type": "error", "error": error}, status)

    def limit(self, resets_at: int | None) -> None:
        error = {"type": "rate_limit_error", "message": "scripted limit"}
        headers = {} if resets_at is None else {name: str(value) for name, value in _limited(resets_at).items()}
        self.handler.send_json({"type": "error", "error": error}, 429, headers)

    def finish(self) -> None:
        if not self._content:
            self.text("ok")
        reason = "tool_use" if self._content[-1]["type"] == "tool_use" else "end_turn"
        stop = {"stop_reason": reason, "stop_sequence": None}
        self.event("message_delta", delta=stop, usage=self._usage)
        self.event("message_stop")
        if not self._stream:
            self.handler.send_json(self._message | {"content": self._content} | stop)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ModelServer

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: stdout and stderr belong to the tests."""

    def do_GET(self) -> None:
        self.send_json(self.server.waiting if self.path == "/control/waiting" else {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"] or 0))
        path = urlsplit(self.path).path
        if path in ("/v1/messages", "/v1/responses"):
            try:
                self.server.answer(self, json.loads(raw))
            except OSError:  # The client is gone, or the script drops it.
                self.close_connection = True
            except ValueError as problem:  # Not JSON, or a directive with a wrong argument.
                _Answer(self, {}).fail(400, f"model_server: {problem}")
            return
        if path.startswith("/control/release/"):
            self.server.release(unquote(path.removeprefix("/control/release/")))
        self.send_json({"input_tokens": len(raw) // 4} if path.endswith("/count_tokens") else {})

    def send_head(self, status: int, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def send_json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_head(status, "application/json", ("Content-Length", str(len(data))), *(headers or {}).items())
        if self.command != "HEAD":
            self.wfile.write(data)


class ModelServer(ThreadingHTTPServer):
    """The server on a free (or given) port of the loopback interface."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, log: Path | None = None) -> None:
        self.requests: list[Request] = []
        self._log = log
        self._changed = threading.Condition()
        self._released: set[str] = set()
        self._blocked: Counter[str] = Counter()
        self._errors: Counter[tuple[str, Step]] = Counter()
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def waiting(self) -> list[str]:
        """The names that a request is held on now."""
        with self._changed:
            return sorted(name for name, count in self._blocked.items() if name and count)

    def start(self) -> ModelServer:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.close()

    def release(self, name: str) -> None:
        """Let every request held on this name go on, now and later."""
        with self._changed:
            self._released.add(name)
            self._changed.notify_all()

    def wait_until_blocked(self, name: str, timeout: float = 30) -> bool:
        """Wait until a request is held on this name; False if none is in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._blocked[name] > 0, timeout)

    def answer(self, handler: _Handler, body: dict[str, Any]) -> None:
        """Answer a request to the messages or the responses endpoint."""
        codex = handler.path.endswith("/responses")
        body = responses.as_messages(given := body) if codex else body
        request = Request(time.time(), handler.path, is_side_request(body), body)
        with self._changed:
            self.requests.append(request)
            if self._log:
                with self._log.open("a") as log:
                    print(json.dumps(request._asdict()), file=log)
        prompt, steps, results = plan_answer(body)
        answer = responses.Answer(handler, given) if codex else _Answer(handler, body)
        for place, step in enumerate(steps):
            argument, text = step.argument, step.argument.replace("\\n", "\n")
            match step.verb:
                case "reply":
                    answer.text(text)
                case "stream":
                    answer.text(text, size=4)
                case "replytool":
                    answer.text((results[-1] if results else "")[: int(argument or 2000)])
                case "delay":
                    self._wait(answer, seconds=float(argument))
                case "hold":
                    self._wait(answer, name=argument)
                case "drop":
                    raise ConnectionAbortedError
                case "and":
                    pass
                case "error":
                    status, _, times = argument.partition("x")
                    with self._changed:
                        self._errors[prompt, step] += 1
                    if not times or self._errors[prompt, step] <= int(times):
                        answer.fail(int(status), f"scripted error {int(status)}")
                        return
                case "limit":
                    answer.limit(int(float(argument)) if argument else None)
                    return
                case _:
                    answer.tool(*(responses.tool_call(*step, results) if codex else tool_call(step)))
                    if steps[place + 1 : place + 2] != [Step("and", "")]:
                        break
        answer.finish()

    def _wait(self, answer: Any, name: str = "", seconds: float = math.inf) -> None:
        """Wait for a release or for so long; ping meanwhile, and stop if the client leaves."""
        client, end = answer.handler.connection, time.monotonic() + seconds

        def done() -> bool:
            return name in self._released or time.monotonic() >= end

        with self._changed:
            self._blocked[name] += 1
            self._changed.notify_all()
            try:
                while not self._changed.wait_for(done, min(PING_SECONDS, end - time.monotonic())):
                    if select.select([client], [], [], 0)[0] and not client.recv(1, socket.MSG_PEEK):
                        raise ConnectionAbortedError
                    if answer.begun:
                        answer.event("ping")
            finally:
                self._blocked[name] -= 1


def main() -> None:
    """Serve until the process ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, help="write the port here")
    parser.add_argument("--log", type=Path, help="append each request as a line of JSON")
    options = parser.parse_args()
    with ModelServer(options.port, options.log) as server:
        if options.port_file:
            (new := options.port_file.with_suffix(".new")).write_text(str(server.server_port))
            new.replace(options.port_file)  # Nobody is to see the file empty.
        print(f"listening on {server.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
