"""The subagents that a session's agent has started; each has its own thread and rollout.

Codex ends a turn when its agent has answered, even if subagents are still working, and these end without waking the
agent (0.146, 0.171). For us the turn ends when they end: `Whole` changes the events of the session's thread
accordingly. Everything else in a subagent's rollout is ignored.
"""

from __future__ import annotations

from ...model import INTERRUPTED, Subagent
from ...values import NamedTuple
from . import paths, rollout
from .rollout import Event, Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

_FOREVER = float("inf")


class Thread(NamedTuple):
    """A thread of a session: its own, or that of a subagent.

    Attributes:
        id: Codex's id for it.
        path: its rollout.
        begin: the byte from which the rollout was read; no turn was open there.
        story: the content of the rollout from there on.
        own: it is the session's own thread.
    """

    id: str
    path: str
    begin: int
    story: Story
    own: bool = False


class Span(NamedTuple):
    """The time of a subagent's turn. A turn that `died` with its server ended with its last event."""

    began: float
    ended: float
    interrupted: bool = False
    died: bool = False


def family(home: str, begins: Mapping[str, int], story: Story) -> list[Thread]:
    """The subagents of a thread, and their subagents.

    Args:
        home: the CODEX_HOME.
        begins: the subagents already known, with the byte from which to read their rollouts.
        story: the content of the thread's own rollout.
    """
    found: dict[str, Thread] = {}
    wanted = [*begins, *story.agents]
    while wanted:
        id = wanted.pop(0)
        path = None if id in found else paths.find_rollout(home, id) or paths.find_archived(home, id)
        if path is not None:
            begin = begins.get(id, 0)
            found[id] = Thread(id, path, begin, rollout.read(path, begin))
            wanted += found[id].story.agents
    return list(found.values())


def spans(agents: Iterable[Thread], working: Container[str]) -> list[Span]:
    """The turns of subagents, in the order of their beginnings. Those of the threads `working` have not ended."""
    found: list[Span] = []
    for agent in agents:
        began: float | None = None
        for event in agent.story.events:
            if event.kind not in ("began", "ended"):
                continue
            # A copy of the parent's history in a rollout ends with the turn in which the subagent was started.
            if began is not None:
                found.append(Span(began, event.at, event.outcome == INTERRUPTED))
            began = event.at if event.kind == "began" else None
        if began is not None and agent.id in working:
            found.append(Span(began, _FOREVER))
        elif began is not None:
            found.append(Span(began, agent.story.events[-1].at, died=True))
    return sorted(found)


class Whole:
    """The events of a session's thread, including the work of its subagents.

    A turn ends when every subagent has ended whose work overlaps with the turn, or with the work of another such
    subagent. A turn of Codex that begins before that, or because of a subagent, is part of the same turn. Later work of
    a subagent, for a person in Codex's terminal, belongs to no turn.

    Attributes:
        events: like those of a thread without subagents; a turn that has not ended in this sense has no end.
        open: the ids of the turns of Codex that together are the open turn; empty if none is open.
        began: when the open turn began, or the last one if none is open.
    """

    def __init__(self, events: Iterable[Event], spans: Sequence[Span], agents: Sequence[Thread] = ()) -> None:
        self.events: list[Event] = []
        self.open: list[str | None] = []
        self.began = 0.0
        self._spans, self._agents = spans, agents
        self._end: Event | None = None
        for event in events:
            self._take(event)
        self._close()

    def _take(self, event: Event) -> None:
        if self._end is not None and event.turn not in self.open:
            meanwhile = event.at < self._over(self._end.at) or event.root in self.open
            if event.kind != "began" or not meanwhile:
                self._close()
        if event.kind == "ended":
            self._end = event._replace(turn=self.open[0] if self.open else event.turn)
            return
        if event.kind == "began":
            if self._end is None:
                self.open = []  # the turn that was open before ended with its server
            self._end = None
            self.open.append(event.turn)
            if len(self.open) > 1:
                return
            self.began = event.at
        self.events.append(event._replace(turn=self.open[0]) if event.turn in self.open else event)

    def _over(self, at: float) -> float:
        """When the subagents that work at that time, and all whose work overlaps with theirs, have ended."""
        for span in self._spans:
            if not span.died and span.began <= at < span.ended:
                at = span.ended
        return at

    def _close(self) -> None:
        """Add the end of the turn, if it has ended."""
        end = self._end
        if end is None or self._over(end.at) == _FOREVER:
            return
        over = self._over(end.at)
        died = [span.ended for span in self._spans if span.died and self.began <= span.began <= over]
        if died:
            end = end._replace(outcome=INTERRUPTED, error=rollout.DIED)
        elif any(span.interrupted and span.ended == over > end.at for span in self._spans):
            end = end._replace(outcome=INTERRUPTED)
        left = end.left + sum(agent.story.left for agent in self._agents)
        self.events.append(end._replace(at=max([over, *died]), left=left))
        self.open, self._end = [], None


def subagent(thread: Thread) -> Subagent | None:
    """The subagent of a thread, with its role (if any) and its path among the agents or its nickname.

    None for the session's own thread.
    """
    if thread.own:
        return None
    about = rollout.about(thread.path)
    for name in ("source", "subagent", "thread_spawn"):
        inner = about.get(name)
        about = inner if isinstance(inner, dict) else {}
    name = str(about.get("agent_path") or about.get("agent_nickname") or "")
    role = str(about.get("agent_role") or "")
    return Subagent(thread.id, role or name, name if role else "")
