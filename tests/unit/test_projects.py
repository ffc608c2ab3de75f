"""A project's own files for an agent."""

from __future__ import annotations

from pathlib import Path

from dev_sessions.backends import projects

NAMES = (".agent", "AGENT.md")


def test_existing_files_are_found_from_the_folder_upwards(tmp_path: Path) -> None:
    folder = tmp_path / "top" / "sub"
    for place in (tmp_path, folder.parent, folder):
        (place / ".agent").mkdir(parents=True)
    (folder.parent / "AGENT.md").touch()
    (folder / "AGENT.md").symlink_to("nowhere")
    found = projects.found(str(folder), NAMES, str(tmp_path / "top"))
    assert found == [".agent", "AGENT.md", "../.agent", "../AGENT.md"]
    assert "../../.agent" in projects.found(str(folder), NAMES)


def test_the_folder_of_the_user_does_not_count(tmp_path: Path) -> None:
    own = tmp_path / ".agent"
    own.mkdir()
    (tmp_path / "project").mkdir()
    assert projects.found(str(tmp_path / "project"), NAMES, str(tmp_path), str(own)) == []
