"""A `Lab` in which Codex lives too: a CODEX_HOME of its own whose model is the lab's model server."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from lab import Lab

# What a person's config.toml would hold; nothing in it that leaves this machine.
CONFIG = """\
model = "gpt-5"
model_provider = "offline"
check_for_update_on_startup = false

[model_providers.offline]
name = "offline"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "OFFLINE_MODEL_KEY"
request_max_retries = 1
stream_max_retries = 1

[analytics]
enabled = false

# Else the TUI asks.
[projects."{project}"]
trust_level = "trusted"
"""


def copy_of(path: Path, name: str) -> ModuleType:
    """A copy of a module of tests, of the caller's own: to run its tests on another agent."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# Models as this Codex knows them: one that is offered the older tools about subagents and calls its tools one by one,
# and one of the newer tools that runs scripts (0.169 and newer).
OLDER_TOOLS, NEWER_TOOLS = "gpt-5", "gpt-6.2-sol"


def subagent(model: str, task: str, name: str = "look_up") -> str:
    """The directive that makes an agent of that model start a subagent, whose script is `task`."""
    given = {"message": task}
    if model == NEWER_TOOLS:
        given |= {"task_name": name, "fork_turns": "none"}
    # Brackets as JSON escapes, lest they end the directive.
    text = json.dumps(given).replace("[[", r"\u005b\u005b").replace("]]", r"\u005d\u005d")
    return f"[[tool: {'collaboration' if model == NEWER_TOOLS else 'multi_agent_v1'}.spawn_agent {text}]]"


class CodexLab(Lab):
    """Args:
    codex: path of the real `codex`.
    name, claude: see `Lab`.
    """

    def __init__(self, codex: str, name: str = "codex", claude: str | None = None) -> None:
        super().__init__(claude, name)
        self.codex_home = self.home / ".codex"
        self.codex_home.mkdir()
        self.env |= {"DEV_SESSIONS_CODEX": codex, "OFFLINE_MODEL_KEY": "offline-0123456789"}
        self.configure()

    def configure(self, more: str = "") -> None:
        """Write Codex's config.toml, with these lines at its top."""
        (self.codex_home / "config.toml").write_text(more + self.config(self.model.url))

    def config(self, url: str) -> str:
        """A config.toml for a model at that address."""
        return CONFIG.format(url=url, project=self.project)

    def create(self, *args: str, **options: Any) -> str:
        """Create a Codex session and return its id."""
        return super().create("--cli", "codex", *args, **options)

    def private(self, id: str) -> dict[str, Any]:
        """The backend's private state of a session."""
        record = json.loads((self.folder(id) / "record.json").read_text())
        return dict(record["backend"])

    def rollout(self, id: str) -> list[dict[str, Any]]:
        """The lines of a session's rollout file so far."""
        (path,) = self.codex_home.glob(f"sessions/*/*/*/rollout-*-{self.private(id)['thread']}.jsonl")
        lines = Path(path).read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def answered(self, id: str) -> int:
        """How many turns of a session's own thread have ended, whatever its subagents do."""
        return sum(line["payload"].get("type") == "task_complete" for line in self.rollout(id))

    def prompts(self, id: str) -> list[str]:
        """All prompts of a Codex session, in order, from its rollout."""
        found = []
        for line in self.rollout(id):
            payload = line["payload"]
            if payload.get("type") == "item_completed" and payload["item"]["type"] == "UserMessage":
                found.append("".join(part["text"] for part in payload["item"]["content"]))
            elif payload.get("type") == "user_message":
                found.append(payload["message"])
        return found

    def servers(self) -> list[int]:
        """Pids of the app-servers, also of one that its shell has not become yet."""
        return self.running("app-server")

    def sit_down(self, id: str) -> None:
        """Attach a person's terminal to a session; `keys` and `screen` are its keyboard and its screen."""
        self.tmux("new-session", "-d", "-s", f"dev-{id}", "-x", "120", "-y", "50", " ".join(self.argv("attach", id)))
        # The line below its input box, or what it shows while it works or asks.
        self.until(lambda: "gpt-5 default ·" in self.screen(id) or "esc to" in self.screen(id), "the TUI")

    def type(self, id: str, text: str) -> None:
        """Type a line as the attached person."""
        self.tmux("send-keys", "-t", f"=dev-{id}:", "-l", text)
        self.until(lambda: f"› {text}"[:60] in self.screen(id), f"{text} in the input box")
        self.keys(id, "Enter")
