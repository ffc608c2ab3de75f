"""Paths of a container, and what the same folders are called on the host."""

from __future__ import annotations

import os

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..wire import Frame, Request


class Paths:
    """Translates between the two.

    Args:
        workspace: the folder in the container.
        host_path: the same folder on the host; None: nobody has said.
        cwd: where relative paths begin.
    """

    def __init__(self, workspace: str, host_path: str | None, cwd: str) -> None:
        self._workspace, self._cwd = _without_slash(workspace), cwd
        self._host_path = _without_slash(host_path) if host_path else None

    def outward(self, request: Request) -> Request:
        """The request as the host understands it: its parameter `path` is a path of the container.

        Raises:
            UsageError: it carries a path that the host cannot know, or must not be given.
        """
        path = request.params.get("path") if isinstance(request.params, dict) else None
        if not isinstance(path, str) or not path:
            return request
        if "\0" in path or any("\ud800" <= sign < "\udc80" for sign in path):
            raise UsageError("the parameter 'path' must be UTF-8 text without NUL", next="name a folder that exists")
        return request._replace(params={**request.params, "path": self._on_host(path)})

    def homeward(self, frame: Frame) -> Frame:
        """The frame as the container understands it: fields called `path`, and what notes and errors mention.

        What is outside of the workspace stays as it is: the container has no name for it.
        """
        if self._host_path is None or self._host_path == self._workspace:
            return frame
        talk = frame.kind == "error" or (isinstance(frame.value, dict) and frame.value.keys() == {"note"})
        return frame._replace(value=self._translated(frame.value, self._host_path, talk))

    def _on_host(self, path: str) -> str:
        if self._host_path is None:
            raise UsageError(
                f"the host cannot know what {self._workspace} of this container is called there",
                next=f"set HOST_PATH to the host's folder that is mounted at {self._workspace}",
            )
        real = os.path.realpath(os.path.join(self._cwd, os.path.expanduser(path)))
        inside = os.path.relpath(real, os.path.realpath(self._workspace))
        if inside == ".." or inside.startswith("../"):
            raise UsageError(
                f"{real} is outside of {self._workspace}, the only folder of this container that the host has too",
                next=f"choose a folder below {self._workspace} (CONTAINER_WORKSPACE)",
            )
        return os.path.normpath(os.path.join(self._host_path, inside))

    def _translated(self, value: Any, host: str, talk: bool, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self._translated(one, host, talk, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self._translated(one, host, talk, name) for one in value]
        if not isinstance(value, str) or not (talk or name == "path"):
            return value
        return self._mentioned(value, host) if talk else self._inside(value, host)

    def _inside(self, path: str, host: str) -> str:
        if path == host:
            return self._workspace
        top = host.rstrip("/") + "/"
        return os.path.join(self._workspace, path[len(top) :]) if path.startswith(top) else path

    def _mentioned(self, text: str, host: str) -> str:
        if host == "/" or host not in text or text.startswith("on the host: "):
            return text
        import re  # seldom

        # Whole names only: /work is not mentioned in /workshop, in /at/work, or in /work.old.
        return re.sub(rf"(?<![\w./-]){re.escape(host)}(?![\w-]|\.\w)", lambda _: self._workspace, text)


def _without_slash(path: str) -> str:
    return path.rstrip("/") or "/"
