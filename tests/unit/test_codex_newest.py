"""The last replies of a rollout, read from its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev_sessions.backends.codex import rollout

DATA = Path(__file__).parents[1] / "data"
ROLLOUTS = sorted(DATA.glob("codex-*/[!ef]*.jsonl"))


@pytest.mark.parametrize("path", ROLLOUTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("running", [False, True])
def test_the_end_gives_the_same_replies_as_the_whole(path: Path, running: bool, tmp_path: Path) -> None:
    content = path.read_bytes()
    part = tmp_path / "part.jsonl"
    for size in {len(content), len(content) - 1, len(content) * 2 // 3, len(content) // 3}:
        part.write_bytes(content[:size])
        story = rollout.read(str(part))
        for count in (1, 2, 9):
            whole = rollout.replies(story.events, [story.open] if running else [], count)
            for span in (1, 100, 3000, 1 << 16):
                assert rollout.newest(str(part), count, [] if running else None, span) == whole


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_little_of_a_long_rollout_is_read(tmp_path: Path) -> None:
    turns = (DATA / "codex-0.171.0" / "turns.jsonl").read_bytes()
    path = tmp_path / "long.jsonl"
    path.write_bytes(turns * 300)
    before = bytes_read()
    assert [entry.text for entry in rollout.newest(str(path), 1, None)] == ["both"]
    assert bytes_read() - before < path.stat().st_size / 20
    assert len(rollout.newest(str(path), 1000, None)) == 1000


def test_an_empty_rollout_has_no_replies(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    assert rollout.newest(str(path), 3, None) == []
