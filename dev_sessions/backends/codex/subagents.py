"""The subagents that a session's agent has started: threads of their own, each with a rollout of its own.

A turn of Codex is over when its agent has answered, whatever its subagents still do, and these end without waking it
(0.139, 0.169, 0.171). For us it is over when they are: `whole` puts that into the events of the session's thread.
Nothing else of a subagent's rollout counts as the session's.
"""

from __future__ import annotations

from itertools import chain

from ...model import INTERRUPTED, Subagent
from ...system import files
from ...values import NamedTuple
from . import rollout, rollouts
from .rollout import Event, Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

_FOREVER = float("inf")


class Thread(NamedTuple):
    """A thread of a session: its own, or that of a subagent.

    Attributes:
        id: Codex's id of it.
        path: its rollout.
        begin: the byte from which on the rollout was read; no turn was open there.
        story: what the rollout tells from there on.
        own: it is the session's own.
    """

    id: str
    path: str
    begin: int
    story: Story
    own: bool = False


class Span(NamedTuple):
    """A turn of a subagent: from when to when. One that `died` with its server ended when it was last heard of."""

    began: float
    ended: float
    interrupted: bool = False
    died: bool = False


def family(home: str, begins: Mapping[str, int], story: Story) -> list[Thread]:
    """The subagents of a thread, and theirs.

    Args:
        home: the CODEX_HOME.
        begins: those known from before, and from which byte on their rollouts are to be read.
        story: of the thread itself.
    """
    found: dict[str, Thread] = {}
    wanted = [*begins, *story.agents]
    while wanted:
        id = wanted.pop(0)
        path = None if id in found else _path(home, id)
        if path is not None:
            begin = begins.get(id, 0)
            found[id] = Thread(id, path, begin, rollout.read(path, begin))
            wanted += found[id].story.agents
    return list(found.values())


def _path(home: str, thread: str) -> str | None:
    return rollouts.find(home, thread, None) or rollouts.find_archived(home, thread)


def spans(agents: Iterable[Thread], working: Container[str]) -> list[Span]:
    """The turns of subagents, in the order of their beginnings. Those of `working` (ids of threads) go on."""
    return sorted(chain.from_iterable(_spans(agent.story, agent.id in working) for agent in agents))


def _spans(story: Story, goes_on: bool) -> list[Span]:
    found: list[Span] = []
    began: float | None = None
    for event in story.events:
        # The rollout of one that was given its parent's history holds that up to the turn in which it was started.
        if event.kind in ("began", "ended") and began is not None:
            found.append(Span(began, event.at, event.outcome == INTERRUPTED))
        if event.kind in ("began", "ended"):
            began = event.at if event.kind == "began" else None
    if began is not None:
        found.append(Span(began, _FOREVER) if goes_on else Span(began, story.events[-1].at, died=True))
    return found


class Whole:
    """The events of a session's thread, with the work of its subagents.

    A turn ends when all of them have ended that worked while it, or each other, was going on. What the agent begins
    meanwhile (it is sent a message), or because of them, is part of that turn. What a subagent begins later, for a
    person in Codex's terminal, belongs to none.

    Attributes:
        events: as of a thread without subagents. An end that has not come is not among them.
        open: the ids of Codex's turns that are one turn which has not ended; none if all have.
        began: when that began; of the turn before, if none is open.
    """

    def __init__(self, events: Iterable[Event], spans: Sequence[Span], agents: Sequence[Thread] = ()) -> None:
        self.events: list[Event] = []
        self.open: list[str | None] = []
        self._spans, self._agents = spans, agents
        self.began = 0.0
        self._end: Event | None = None
        for event in events:
            self._take(event)
        self._close()

    def _take(self, event: Event) -> None:
        if self._end is not None and event.turn not in self.open and not self._continues(event):
            self._close()
        if event.kind == "ended":
            self._end = event._replace(turn=self.open[0] if self.open else event.turn)
            return
        if event.kind == "began":
            if self._end is None:
                self.open = []  # what was open then was cut, by the end of its server
            self._end = None
            self.open.append(event.turn)
            if len(self.open) > 1:
                return
            self.began = event.at
        self.events.append(event._replace(turn=self.open[0]) if event.turn in self.open else event)

    def _continues(self, event: Event) -> bool:
        """True if what begins is part of the turn before."""
        assert self._end is not None
        return event.kind == "began" and (event.at < self._over(self._end.at) or event.root in self.open)

    def _over(self, at: float) -> float:
        """When what subagents do at that time, and what they begin until it is done, is over."""
        for span in self._spans:
            if not span.died and span.began <= at < span.ended:
                at = span.ended
        return at

    def _close(self) -> None:
        """Tell the end of the turn, if it has come."""
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
    """Which subagent a thread is, by its role (most have none) and by its place among the agents or its nickname.

    None if it is the session's own.
    """
    if thread.own:
        return None
    try:
        with open(thread.path, "rb") as file:
            payload = (files.parse_object(file.readline()) or {}).get("payload")
    except FileNotFoundError:
        payload = None  # archived meanwhile
    about = payload if isinstance(payload, dict) else {}
    for name in ("source", "subagent", "thread_spawn"):
        about = found if isinstance(found := about.get(name), dict) else {}
    called = str(about.get("agent_path") or about.get("agent_nickname") or "")
    role = str(about.get("agent_role") or "")
    return Subagent(thread.id, role or called, called if role else "")
