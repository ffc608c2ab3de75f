"""A request that comes again, because its connection was cut, is answered with what it came to the first time."""

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
# Characters: what acts answers in less.
_LONGEST = 4_000


class Answer:
    """What one request came to: its last `frame`, once that is known, if it is kept.

    Args:
        contents: the hash of the request.
        keeps: whether the frame is kept for whoever asks again later.
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
        """The last frame, if it is worth keeping."""
        if self._keeps and len(str(frame.value)) <= _LONGEST:
            self.frame = frame


class Once:
    """The answers to the last requests that acted, in memory: over a restart, the operations see to it themselves.

    Of a request only hashes are kept: whoever sends many large ones fills nothing.

    Args:
        acts: tells whether an operation changes anything; what only reads is read again.
    """

    def __init__(self, acts: Callable[[str], bool] = lambda op: True) -> None:
        self._acts = acts
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, request: Request, contents: bytes) -> Iterator[Answer]:
        """The answer to a request; while another connection works on the same one, this waits for that to end.

        The same id with other contents is another request: the service says what it thinks of that.

        Args:
            contents: the hash of the request as it came.
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
                self._tidy(key, answer)

    def _tidy(self, key: bytes, answer: Answer) -> None:
        """Keep what has come to an answer, and of those the newest."""
        if answer.frame is None and not answer.users and self._answers.get(key) is answer:
            del self._answers[key]
        while len(self._answers) > _KEPT:
            oldest = next(iter(self._answers.values()))
            if oldest.users:
                break
            self._answers.popitem(last=False)


def hashed(content: bytes) -> bytes:
    """By this contents and ids are told apart."""
    return hashlib.blake2b(content, digest_size=16).digest()
