"""Keeps answers for callers that lose their connection and send the same request again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..wire import Frame, Request

_KEPT = 500  # answers
_LONGEST = 4_000  # characters; longer answers are not kept; those of operations that act are shorter


class Answer:
    """The answer to one request: its last `frame`, once known and if it is kept.

    Args:
        contents: the hash of the request.
        keeps: whether to keep the frame for a caller that repeats the request.
    """

    def __init__(self, contents: bytes, keeps: bool) -> None:
        self.contents = contents
        self.frame: Frame | None = None
        self.lock = threading.Lock()
        self.users = 0
        self._keeps = keeps

    @property
    def asked_again(self) -> bool:
        """True if another connection waits for the same answer: the caller has given up on this one."""
        return self.users > 1

    def keep(self, frame: Frame) -> None:
        """Keep the last frame, if this answer is to be kept and is short enough."""
        if self._keeps and len(str(frame.value)) <= _LONGEST:
            self.frame = frame


class Once:
    """The answers to recent requests, in memory; after a restart, the operations themselves recognize repeated ones.

    Requests are kept as hashes, so that large ones do not fill the memory.

    Args:
        acts: returns whether the operation with this name changes anything. Other answers are not kept: they may be
            long, and a new one is as good.
    """

    def __init__(self, acts: Callable[[str], bool] = lambda op: True) -> None:
        self._acts = acts
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, request: Request, contents: bytes) -> Iterator[Answer]:
        """The answer to a request; waits while another connection is serving the same request.

        The same id with other contents is another request, and the service decides whether to refuse it.

        Args:
            contents: the hash of the request.
        """
        key = hashed(request.id.encode(errors="surrogatepass"))
        with self._lock:
            answer = self._answers.get(key)
            if answer is None or answer.contents != contents:
                answer = self._answers[key] = Answer(contents, self._acts(request.op))
            self._answers.move_to_end(key)
            answer.users += 1
        try:
            with answer.lock:
                yield answer
        finally:
            with self._lock:
                answer.users -= 1
                if answer.frame is None and not answer.users and self._answers.get(key) is answer:
                    del self._answers[key]
                while len(self._answers) > _KEPT and not next(iter(self._answers.values())).users:
                    self._answers.popitem(last=False)


def hashed(content: bytes) -> bytes:
    """A hash of a request or an id."""
    return hashlib.blake2b(content, digest_size=16).digest()
