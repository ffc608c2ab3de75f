"""Results kept by request: a repeated request returns the first result and does not act again."""

from __future__ import annotations

import os

from ..errors import StoreError
from ..system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_KEPT = 100


class Answers:
    """The most recent results, one file each, in the folder at `path`, which is created when needed."""

    def __init__(self, path: str) -> None:
        self._path = path

    def get(self, *request: str) -> Json | None:
        """The first result of this request; None if the request is new, or its result was dropped."""
        noted = files.read_json(self._file(request))
        return noted if isinstance(noted, dict) else None

    def keep(self, answer: Json, *request: str) -> None:
        """Keep a result. A failure to write it is ignored, since an error would not undo the act.

        Args:
            request: the texts that identify the request.
        """
        try:
            files.make_folder(self._path)
            files.write_json(self._file(request), answer)
            with os.scandir(self._path) as found:
                oldest = sorted((entry.stat().st_mtime, entry.path) for entry in found)[:-_KEPT]
            for _, path in oldest:
                os.unlink(path)
        except (OSError, StoreError):
            pass

    def _file(self, request: tuple[str, ...]) -> str:
        from _blake2 import blake2s  # importing `hashlib` takes 5 ms, because it loads OpenSSL

        words = chr(0).join(request).encode(errors="surrogatepass")
        return os.path.join(self._path, f"{blake2s(words, digest_size=16).hexdigest()}.json")
