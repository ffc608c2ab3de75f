"""A request that comes again, because its connection was cut, is answered with what it came to the first time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..wire import Frame, Request

_KEPT = 500  # answers
# Characters: what acts answers in less; what reads may be read again.
_LONGEST = 4_000


class Answer:
    """What one request came to: its last `frame`, once that is known and short."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.frame: Frame | None = None
        self.lock = threading.Lock()
        self.users = 0

    @property
    def asked_again(self) -> bool:
        """True if another connection waits for the same answer: the caller has given up on this one."""
        return self.users > 1

    def keep(self, frame: Frame) -> None:
        """The last frame, if it is worth keeping."""
        if len(str(frame.value)) <= _LONGEST:
            self.frame = frame


class Once:
    """The answers to the last requests, in memory: over a restart, operations that must not act twice see to it."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, request: Request) -> Iterator[Answer]:
        """The answer to a request; while another connection works on the same one, this waits for that to end.

        The same id with other contents is another request: the service says what it thinks of that.
        """
        with self._lock:
            answer = self._answers.get(request.id)
            if answer is None or answer.request != request:
                answer = self._answers[request.id] = Answer(request)
            self._answers.move_to_end(request.id)
            answer.users += 1
        try:
            with answer.lock:
                yield answer
        finally:
            with self._lock:
                answer.users -= 1
                self._tidy(answer)

    def _tidy(self, answer: Answer) -> None:
        """Keep what has come to an answer, and of those the newest."""
        id = answer.request.id
        if answer.frame is None and not answer.users and self._answers.get(id) is answer:
            del self._answers[id]
        while len(self._answers) > _KEPT:
            oldest = next(iter(self._answers.values()))
            if oldest.users:
                break
            self._answers.popitem(last=False)
