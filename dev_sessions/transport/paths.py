"""Translates paths between a container and its host."""

from __future__ import annotations

import os

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..wire import Frame, Request


class Paths:
    """The paths of one container.

    Args:
        workspace: the folder in the container.
        host_path: the same folder on the host; None if it is not known.
        cwd: relative paths start there.
    """

    def __init__(self, workspace: str, host_path: str | None, cwd: str) -> None:
        self._workspace, self._cwd = workspace.rstrip("/") or "/", cwd
        self._host_path = (host_path.rstrip("/") or "/") if host_path else None

    def outward(self, request: Request) -> Request:
        """The request with its parameter `path` translated for the host.

        Raises:
            UsageError: the host does not have that path, or must not get it.
        """
        path = request.params.get("path") if isinstance(request.params, dict) else None
        if not isinstance(path, str) or not path:
            return request
        if "\0" in path or any("\ud800" <= sign < "\udc80" for sign in path):
            raise UsageError("the parameter 'path' must be UTF-8 text without NUL", next="name a folder that exists")
        if self._host_path is None:
            raise UsageError(
                f"the path of {self._workspace} on the host is not known",
                next=f"set HOST_PATH to the host's folder that is mounted at {self._workspace}",
            )
        real = os.path.realpath(os.path.join(self._cwd, os.path.expanduser(path)))
        inside = os.path.relpath(real, os.path.realpath(self._workspace))
        if inside == ".." or inside.startswith("../"):
            raise UsageError(
                f"{real} is outside of {self._workspace}, the only folder that this container shares with the host",
                next=f"choose a folder below {self._workspace} (CONTAINER_WORKSPACE)",
            )
        there = os.path.normpath(os.path.join(self._host_path, inside))
        return request._replace(params={**request.params, "path": there})

    def homeward(self, frame: Frame) -> Frame:
        """The frame with its paths translated for the container: fields called `path`, and paths in notes and errors.

        Paths outside the workspace stay as they are: the container does not have them.
        """
        if self._host_path is None or self._host_path == self._workspace:
            return frame
        talk = frame.kind == "error" or (isinstance(frame.value, dict) and frame.value.keys() == {"note"})
        return frame._replace(value=self._translated(frame.value, self._host_path, talk))

    def _translated(self, value: Any, host: str, talk: bool, name: str = "") -> Any:
        if isinstance(value, dict):
            kept = "next" if value.get("next_on_host") else None
            return {key: one if key == kept else self._translated(one, host, talk, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self._translated(one, host, talk, name) for one in value]
        if isinstance(value, str) and talk:
            return self._mentioned(value, host)
        if isinstance(value, str) and name == "path":
            top = host.rstrip("/") + "/"
            if value.startswith(top):
                return os.path.join(self._workspace, value[len(top) :])
            return self._workspace if value == host else value
        return value

    def _mentioned(self, text: str, host: str) -> str:
        if host == "/" or host not in text:
            return text
        import re  # rarely needed

        # Whole paths only, not /work in /workshop, in /at/work, or in /work.old.
        return re.sub(rf"(?<![\w./-]){re.escape(host)}(?![\w-]|\.\w)", lambda _: self._workspace, text)
