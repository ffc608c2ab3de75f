"""Paths of a container and of its host, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev_sessions.errors import UsageError
from dev_sessions.transport.paths import Paths
from dev_sessions.wire import Frame, Request


def outward(paths: Paths, path: Any) -> Any:
    return paths.outward(Request("create", {"path": path, "description": "/workspace/x"}, "r")).params["path"]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    (made / "sub").mkdir(parents=True)
    return made


def test_outward(workspace: Path) -> None:
    paths = Paths(str(workspace), "/srv/my project", str(workspace / "sub"))
    for path, there in (
        (str(workspace), "/srv/my project"),
        (f"{workspace}/", "/srv/my project"),
        (f"{workspace}/sub/deeper", "/srv/my project/sub/deeper"),
        (f"{workspace}/sub/../other", "/srv/my project/other"),
        (".", "/srv/my project/sub"),
        ("..", "/srv/my project"),
        ("a b", "/srv/my project/sub/a b"),
    ):
        assert outward(paths, path) == there
    assert paths.outward(Request("list", {}, "r")).params == {}
    assert outward(paths, "") == ""  # the service has an error for that


def test_paths_outside_the_workspace_are_refused(workspace: Path, tmp_path: Path) -> None:
    (workspace / "out").symlink_to(tmp_path)
    (workspace / "up").symlink_to("..")
    paths = Paths(str(workspace), "/srv", str(workspace))
    for path in ("/", "/etc", "..", "sub/../..", "out", "out/workspace/../x", "up", f"{workspace}-not", "~"):
        with pytest.raises(UsageError, match="outside of") as caught:
            outward(paths, path)
        assert "CONTAINER_WORKSPACE" in caught.value.data["next"]
    (workspace / "in").symlink_to("sub")
    assert outward(paths, "in/x") == "/srv/sub/x"


def test_without_a_host_path_only_paths_are_refused(workspace: Path) -> None:
    paths = Paths(str(workspace), None, str(workspace))
    with pytest.raises(UsageError, match="on the host is not known") as caught:
        outward(paths, ".")
    assert "set HOST_PATH" in caught.value.data["next"]
    assert paths.outward(Request("send", {"id": "a", "text": "/workspace"}, "r")).params["text"] == "/workspace"
    assert paths.homeward(Frame("result", [{"path": "/srv"}])).value == [{"path": "/srv"}]


def test_homeward() -> None:
    paths = Paths("/workspace", "/srv/w", "/workspace")
    records = [{"path": "/srv/w"}, {"path": "/srv/w/sub"}, {"path": "/srv/w2"}, {"path": "/etc"}, {"path": None}]
    found = paths.homeward(Frame("result", records)).value
    assert [one["path"] for one in found] == ["/workspace", "/workspace/sub", "/srv/w2", "/etc", None]
    said = {"text": "see /srv/w/a", "reply": "/srv/w", "turns": [{"reply": "/srv/w"}]}
    assert paths.homeward(Frame("result", said)).value == said  # an agent's text is never changed


def test_errors_and_notes_name_the_containers_paths() -> None:
    paths = Paths("/workspace", "/srv/w", "/workspace")
    text = "no folder /srv/w/x in /srv/w, '/srv/w', not /srv/w2, /srv/w-old, /a/srv/w or /srv/w.old; /srv/w."
    there = "no folder /workspace/x in /workspace, '/workspace', not /srv/w2, /srv/w-old, /a/srv/w or /srv/w.old; "
    error = {"code": "usage", "message": text, "data": {"next": "mkdir -p /srv/w/x"}}
    changed = paths.homeward(Frame("error", error)).value
    assert changed == {"code": "usage", "message": f"{there}/workspace.", "data": {"next": "mkdir -p /workspace/x"}}
    next_ = "on the host: dev-sessions gateway --allow /srv/w"
    there = {"code": "usage", "message": "/srv/w is", "data": {"next": next_, "next_on_host": True}}
    assert paths.homeward(Frame("error", there)).value == {**there, "message": "/workspace is"}
    assert paths.homeward(Frame("event", {"note": "trusts /srv/w"})).value == {"note": "trusts /workspace"}


def test_a_host_that_shares_everything() -> None:
    paths = Paths("/", "/", "/x")
    assert outward(paths, "y/z") == "/x/y/z"
    assert paths.homeward(Frame("result", {"path": "/x"})).value == {"path": "/x"}
    rooted = Paths("/workspace", "/", "/workspace")
    assert rooted.homeward(Frame("result", {"path": "/x"})).value == {"path": "/workspace/x"}
