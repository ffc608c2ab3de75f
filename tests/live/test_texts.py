"""Any text, through the real TUI: Claude's transcript contains exactly that text, byte for byte, and once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from lab import Lab
from soak import size
from texts import texts

from dev_sessions.app import client

EXAMPLES = size(6, 10_000)


class Talk:
    """One session, and how much of its conversation has been compared."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.id, self.seen = lab, lab.create(), 0
        # In this process: a separate command for each text would take most of the time.
        self.client = client(lab.env)

    def new_prompts(self) -> list[str]:
        """The new prompts in the transcript, once there is at least one."""
        self.lab.until(lambda: len(self.lab.prompts(self.id)) > self.seen, "the prompt in the transcript")
        found = self.lab.prompts(self.id)[self.seen :]
        self.seen += len(found)
        return found


@pytest.fixture(scope="module")
def talk(shared: Lab) -> Iterator[Talk]:
    made = Talk(shared)
    yield made
    shared.run("kill", made.id)


def arrived(talk: Talk, told: dict[str, Any], prompts: list[str]) -> bytes:
    """The text as the agent received it: typed, or in the file that its one prompt points to."""
    assert len(prompts) == 1, prompts
    path = talk.lab.folder(talk.id) / "messages" / f"{told['turn']:04d}" / "text.md"
    if told["via"] == "terminal":
        return prompts[0].encode()
    assert told["via"] == "file"
    assert str(path) in prompts[0]
    return path.read_bytes()


@pytest.mark.soak
@pytest.mark.timeout(120 + 5 * EXAMPLES)
# No shrinking: each try takes a turn of the real agent. The failing text is printed completely, with escapes.
@settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(text=texts())
def test_any_text_arrives_whole_and_once(talk: Talk, text: str) -> None:
    said = f"the text ({len(text)} characters): {text[:2000]!a} ... {text[-100:]!a}"
    told = talk.client.send(talk.id, text)
    (outcome,) = talk.client.wait([talk.id], timeout=60)
    assert outcome["outcome"] == "completed", (outcome, said)
    prompts = talk.new_prompts()
    wanted = text.rstrip() if told["via"] == "terminal" else text
    assert arrived(talk, told, prompts) == wanted.encode(), said
    if told["via"] == "terminal":
        assert unicodedata.is_normalized("NFC", text.rstrip()), said
