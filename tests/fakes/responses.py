"""The same offline model with OpenAI's Responses API, as Codex uses it (server-sent events).

`model_server.py` scripts it by the same directives. What Codex has no tool for, its shell does: `read`, `write` (by
`apply_patch`, which Codex takes for a file change) and `sha`. `ask` is `request_user_input`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

# What Codex adds to the user's words by itself.
ADDED = (
    "# AGENTS.md instructions",
    "<environment_context>",
    "<user_instructions>",
    "<skill",
    "<permissions",
    "<subagent_notification>",
)
ABORTED = "<turn_aborted>"
# Codex's text at the beginning of a turn without a prompt; the goal's objective is its script.
GOAL = '<codex_internal_context source="goal">'
# Longer than any command of a test that is not meant to go on in the background.
YIELD_MS = 30_000
_AGENT = re.compile(r'"agent_id": ?"([^"]+)"')


def as_messages(body: dict[str, Any]) -> dict[str, Any]:
    """A request in the shape of the Messages API, as far as the script needs it."""
    found: list[dict[str, Any]] = []
    objective = ""
    for item in body.get("input") or []:
        if item.get("name") == "goal_objective":
            objective = _output(item.get("output"))
            continue
        role, block = _block(item)
        if block.get("text", "").startswith(GOAL):
            block["text"] = objective
        if role and found and found[-1]["role"] == role == "assistant":
            found[-1]["content"].append(block)
        elif role:
            found.append({"role": role, "content": [block]})
    return {"messages": found, "tools": _tools(body), "model": body.get("model")}


def _tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools on offer; a request for newer models has them in its input."""
    more = (item["tools"] for item in body.get("input") or () if item.get("type") == "additional_tools")
    return [*(body.get("tools") or ()), *(tool for tools in more for tool in tools)]


def _runs_scripts(body: dict[str, Any]) -> bool:
    """True if the model reaches its tools through JavaScript: newer ones do, but for the tools about agents."""
    spaces = [tool for tool in _tools(body) if tool.get("name") == "functions"]
    return any(tool.get("name") == "exec" for space in spaces for tool in space.get("tools") or ())


def _block(item: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Role and content block of one input item; no role if the script does not need it."""
    match item.get("type"):
        case "function_call" | "custom_tool_call":
            return "assistant", {"type": "tool_use"}
        case "function_call_output" | "custom_tool_call_output":
            return "user", {"type": "tool_result", "content": _output(item.get("output"))}
        case "agent_message":  # from one agent to another (multi_agent_v2); its text follows "Payload:"
            parts = item.get("content") or ()
            text = "".join(part.get("text") or part.get("encrypted_content") or "" for part in parts)
            text = text.partition("Payload:\n")[2]
            return "user" if "[[" in text else "", {"type": "text", "text": text}
        case "message" if item.get("role") in ("user", "assistant"):
            text = "".join(part.get("text", "") for part in item.get("content") or ())
            if text.startswith(ABORTED):
                text = "[Request interrupted by user]"
            elif item["role"] == "user" and text.startswith(ADDED):
                return "", {}
            return item["role"], {"type": "text", "text": text}
    return "", {}


def _output(value: Any) -> str:
    """A tool's output without Codex's text around it."""
    text = value if isinstance(value, str) else "".join(part.get("text", "") for part in value or ())
    return text.partition("\nOutput:\n")[2] or text


def tool_call(verb: str, argument: str, results: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
    """The tool's name (behind its namespace and a dot, if it has one) and input for a tool step.

    AGENT in it is the id of the subagent that was started last, by the `results` of the tools before.
    """
    head, _, rest = argument.partition(" " if verb == "tool" else "|")
    match verb:
        case "tool":
            started = _AGENT.findall("\n".join(results))
            return head, json.loads(rest.replace("AGENT", started[-1]) if started else rest or "{}")
        case "ask":
            labels = [label.strip() for label in rest.split("|")]
            options = [{"label": label, "description": f"Choose {label}"} for label in labels]
            asked = {"id": "choice", "header": "Choice", "question": head.strip(), "options": options}
            return "request_user_input", {"questions": [asked]}
        case "write":
            text = "".join(f"+{line}\n" for line in rest.replace("\\n", "\n").split("\n"))
            patch = f"*** Begin Patch\n*** Add File: {head.strip()}\n{text}*** End Patch"
            return "exec_command", {"cmd": f"apply_patch <<'PATCH'\n{patch}\nPATCH"}
        case "read":
            command = f"cat {argument}"
        case "sha":
            command = f"sha256sum {argument}"
        case _:
            command = argument
    return "exec_command", {"cmd": command, "yield_time_ms": 250 if verb == "bash_bg" else YIELD_MS}


class Answer:
    """One response of the responses endpoint, streamed. The same verbs as the Messages API's answer has."""

    def __init__(self, handler: Any, body: dict[str, Any]) -> None:
        self.handler = handler
        self.begun = False
        self._scripts = _runs_scripts(body)
        self._id = f"resp_{uuid.uuid4().hex}"
        self._said = 0

    def event(self, name: str, **data: Any) -> None:
        if name == "ping":
            name, data = "response.in_progress", {"response": {"id": self._id}}
        if not self.begun:
            self.begun = True
            self.handler.send_head(200, "text/event-stream", ("Connection", "close"))
            self.event("response.created", response={"id": self._id})
        self.handler.wfile.write(f"event: {name}\ndata: {json.dumps({'type': name} | data)}\n\n".encode())
        self.handler.wfile.flush()

    def text(self, text: str, size: int = 0) -> None:
        if not text:
            return
        item = {"type": "message", "role": "assistant", "id": f"msg_{uuid.uuid4().hex}"}
        self.event("response.output_item.added", output_index=self._said, item=item | {"content": []})
        for begin in range(0, len(text), size or len(text)):
            part = text[begin:][: size or None]
            self.event("response.output_text.delta", output_index=self._said, item_id=item["id"], delta=part)
        self._done(item | {"content": [{"type": "output_text", "text": text}]})

    def tool(self, name: str, given: dict[str, Any]) -> None:
        space, _, name = name.rpartition(".")
        if self._scripts and name in ("exec_command", "write_stdin", "apply_patch"):
            call = {"call_id": f"call_{uuid.uuid4().hex[:24]}", "name": "exec", "status": "completed"}
            script = f"const r = await tools.{name}({json.dumps(given)}); text(r.output); text(JSON.stringify(r));"
            self._done({"type": "custom_tool_call", "id": f"ctc_{uuid.uuid4().hex}", "input": script} | call)
            return
        call = {"call_id": f"call_{uuid.uuid4().hex[:24]}", "name": name, "arguments": json.dumps(given)}
        call |= {"namespace": space} if space else {}
        self._done({"type": "function_call", "id": f"fc_{uuid.uuid4().hex}"} | call)

    def _done(self, item: dict[str, Any]) -> None:
        self.event("response.output_item.done", output_index=self._said, item=item)
        self._said += 1

    def fail(self, status: int, message: str) -> None:
        error = {"type": "invalid_request_error" if status == 400 else "server_error", "message": message}
        if self.begun:
            self.event("response.failed", response={"id": self._id, "error": error | {"code": "server_error"}})
        else:
            self.handler.send_json({"error": error}, status)

    def limit(self, resets_at: int | None) -> None:
        """The answer of ChatGPT's service when the plan's limit is reached."""
        told = {} if resets_at is None else {"resets_at": resets_at}
        error = {"type": "usage_limit_reached", "message": "scripted limit", "plan_type": "plus"}
        headers = {"x-codex-primary-used-percent": "100.0", "x-codex-primary-window-minutes": "300"}
        headers |= {} if resets_at is None else {"x-codex-primary-reset-at": str(resets_at)}
        self.handler.send_json({"error": error | told}, 429, headers)

    def finish(self) -> None:
        if not self._said:
            self.text("ok")
        usage = {"input_tokens": 100, "input_tokens_details": None, "output_tokens": 10, "output_tokens_details": None}
        self.event("response.completed", response={"id": self._id, "usage": usage | {"total_tokens": 110}})
