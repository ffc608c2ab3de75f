"""Which keys are pressed in the place of those that a user has bound anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dev_sessions.backends.claude import keys
from dev_sessions.errors import DeliveryFailed, LaunchFailed


def write(folder: Path, *blocks: tuple[str, dict[str, Any]]) -> str:
    content = {"bindings": [{"context": context, "bindings": bindings} for context, bindings in blocks]}
    (folder / "keybindings.json").write_text(json.dumps(content))
    return str(folder)


NEWLINE = {"enter": "chat:newline"}
TABLE = {
    "nothing of ours": ([("Chat", {"ctrl+g": None, "meta+o": "chat:stash"})], {}),
    "another key submits": ([("Chat", {**NEWLINE, "meta+enter": "chat:submit"})], {"Enter": ("M-Enter",)}),
    "by another name": ([("Chat", {"Return": "chat:newline", "Alt+Enter": "chat:submit"})], {"Enter": ("M-Enter",)}),
    "a chord submits": ([("Chat", {**NEWLINE, "ctrl+x ctrl+y": "chat:submit"})], {"Enter": ("C-x", "C-y")}),
    "of several the last that can be sent": (
        [("Chat", {**NEWLINE, "ctrl+q": "chat:submit", "alt+s": "chat:submit", "shift+enter": "chat:submit"})],
        {"Enter": ("M-s",)},
    ),
    "another key too, which does not count beside Enter": ([("Chat", {"ctrl+q": "chat:submit"})], {}),
    "Enter unbound submits": ([("Chat", {"enter": None})], {}),
    "the last word counts": ([("Chat", NEWLINE), ("Global", {"enter": "chat:submit"})], {}),
    "everywhere": ([("Global", {"enter": "app:toggleTodos"}), ("Chat", {"tab": "chat:submit"})], {"Enter": ("Tab",)}),
    "in a context that is none of the box": ([("Task", {"enter": "task:background", "ctrl+u": "x:y"})], {}),
    "stash and cancel": (
        [("Chat", {"ctrl+s": "chat:newline", "ctrl+g": "chat:stash", "escape": None, "ctrl+q": "chat:cancel"})],
        {"C-s": ("C-g",), "Escape": ("C-q",)},
    ),
    "a chord that begins with ours": (
        [("Chat", {"ctrl+s ctrl+k": "chat:undo", "ctrl+g": "chat:stash"})],
        {"C-s": ("C-g",)},
    ),
    "beginning and end of a line": (
        [("Chat", {"ctrl+e": "chat:externalEditor", "ctrl+a": "chat:undo"})],
        {"C-a": ("Home",), "C-e": ("End",)},
    ),
    "the transcript's": ([("Global", {"ctrl+o": None, "ctrl+t": "app:toggleTranscript"})], {"C-o": ("C-t",)}),
    "no transcript": ([("Global", {"ctrl+o": None})], {}),
    "keys that edit, unbound": ([("Chat", {"ctrl+u": None, "ctrl+e": None, "home": "chat:undo"})], {}),
}


@pytest.mark.parametrize("name", TABLE)
def test_keys_that_replace_ours(tmp_path: Path, name: str) -> None:
    blocks, wanted = TABLE[name]
    assert keys.pressed(write(tmp_path, *blocks)) == wanted
    keys.refuse_unusable(str(tmp_path))
    assert keys.troubles(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("bindings", "word"),
    [
        (NEWLINE, "chat:submit"),
        ({**NEWLINE, "shift+enter": "chat:submit", "f5": "chat:submit", "ctrl+j": "chat:submit"}, "chat:submit"),
        ({"escape": None}, "chat:cancel"),
        ({"ctrl+s": "chat:undo"}, "chat:stash"),
        ({"ctrl+u": "chat:stash"}, "ctrl+u"),
        ({"ctrl+a": "chat:undo", "home": "chat:undo"}, "home"),
    ],
)
def test_a_missing_key_is_reported_before_anything_is_started(
    tmp_path: Path, bindings: dict[str, Any], word: str
) -> None:
    folder = write(tmp_path, ("Chat", bindings))
    with pytest.raises(LaunchFailed, match="leaves no key") as caught:
        keys.refuse_unusable(folder)
    assert word in caught.value.message
    assert "keybindings.json" in caught.value.data["next"]
    with pytest.raises(DeliveryFailed):
        keys.pressed(folder)
    assert keys.troubles(folder) == [(caught.value.message, caught.value.data["next"])]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"bindings": 3}', '{"bindings": [1, {"context": "Chat"}]}'])
def test_a_file_that_claude_does_not_accept_changes_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "keybindings.json").write_text(content)
    assert keys.pressed(str(tmp_path)) == {}
    assert keys.pressed(str(tmp_path / "none")) == {}
