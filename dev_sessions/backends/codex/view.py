"""What the rollouts of a session tell, its own and those of its subagents.

What a long rollout told long ago is read from a file of ours: a long session is as quick to read as a short one.
"""

from __future__ import annotations

import os

from ...model import Fact
from ...system import files
from ...turns import rests
from ...values import NamedTuple
from . import rollout, subagents
from .look import Look
from .subagents import Thread, Whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..base import Session

# What the rollout must have told since the last note for another to be worth it. Bytes.
_WORTH = 200_000
# How often a rollout is read again that grows while those of subagents are read.
_TRIES = 5


class View(NamedTuple):
    """What is known of a session's threads.

    Attributes:
        facts: of the whole session; the work of its subagents is part of its turns.
        own: its own thread.
        subagents: its subagents. `working` are those that are at work now.
        open: Codex's turns that are the one turn which has not ended; none if all have. `began` is when that began.
        scripts: scripts have run commands, in a part of the rollout that was not read.
    """

    facts: list[Fact]
    own: Thread
    subagents: list[Thread]
    working: list[Thread]
    open: list[str | None]
    began: float
    scripts: bool


class Past(NamedTuple):
    """What is known of a session without its rollouts.

    Attributes:
        size: up to which byte of the rollout the facts are known.
        facts: these, but for what is long over (see `keep_past`).
        clients: our ids of the messages that Codex has got to by then.
        subagents: the subagents by then, and up to which byte of theirs nothing more is to be learned.
        scripts: see `View`.
    """

    size: int = 0
    facts: tuple[Fact, ...] = ()
    clients: tuple[str, ...] = ()
    subagents: tuple[tuple[str, int], ...] = ()
    scripts: bool = False


def told(session: Session, path: str, look: Look) -> View:
    """What the rollout `path` of a session's thread tells, and those of its subagents."""
    behind = past(session)
    for _ in range(_TRIES):
        own = Thread(session.private["thread"], path, behind.size, rollout.read(path, behind.size), own=True)
        found = subagents.family(session.private["home"], dict(behind.subagents), own.story)
        found, working = _at_work(session, found, look)
        if own.story.open is not None or not found or _size(path) <= own.story.size:
            break  # else the agent may have gone on before a subagent was seen to have ended
    spans = subagents.spans(found, [agent.id for agent in working])
    whole = Whole(own.story.events, spans, found)
    facts = [*behind.facts, *rollout.facts(whole.events)]
    return View(facts, own, found, working, whole.open, whole.began, behind.scripts)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0  # archived meanwhile


def _at_work(session: Session, found: list[Thread], look: Look) -> tuple[list[Thread], list[Thread]]:
    """The subagents as they are, and those of them that are at work."""
    current, working = [], []
    for agent in found:
        runs = look.runner(session, agent) is not None
        if agent.story.open is not None and not runs:
            # Whoever ran it wrote its end before he let go of the thread.
            agent = agent._replace(story=rollout.read(agent.path, agent.begin))
        current.append(agent)
        if runs:
            working.append(agent)
    return current, working


def look(session: Session, path: str) -> View:
    """`told`, where one look is all there is."""
    with Look() as one:
        return told(session, path, one)


def at_work(session: Session, path: str) -> list[Thread]:
    """The threads of a session in which a turn runs now: its own first."""
    with Look() as one:
        seen = told(session, path, one)
        return [*([seen.own] if one.runner(session, seen.own) is not None else ()), *seen.working]


def past(session: Session) -> Past:
    """What is known of a session without its rollouts; nothing, if all is wanted."""
    return Past() if session.folder.whole else _kept(session)


def clients(session: Session, story: rollout.Story) -> set[str]:
    """Our ids of the messages that Codex has got to, ever."""
    return {*story.clients(), *_kept(session).clients}


def _kept(session: Session) -> Past:
    value = files.read_json(_past_path(session))
    if not isinstance(value, dict) or not isinstance(value.get("size"), int):
        return Past()
    facts = tuple(Fact(**fields) for fields in value.get("facts") or ())
    threads = value.get("agents")
    subagents = tuple(threads.items()) if isinstance(threads, dict) else ()
    return Past(value["size"], facts, tuple(value.get("clients") or ()), subagents, bool(value.get("scripts")))


def keep_past(session: Session, path: str) -> rollout.Story:
    """Note what the rollout has told so far, if no turn runs. Returns the newest of it. Called by writers only."""
    with Look() as look:
        seen = told(session, path, look)
        story = seen.own.story
        # What has a goal is told from its beginning: the past keeps none. Nor does it keep what was left running.
        over = not seen.open and not seen.working and story.goal is None
        if over and story.size - seen.own.begin > _WORTH:
            left = [one for one in (seen.own, *seen.subagents) if one.story.left]
            if all(look.holder(session, one) is None for one in left):
                _keep(session, seen)
        return story


def _keep(session: Session, seen: View) -> None:
    story = seen.own.story
    facts = _at_hand(session, seen.facts)
    shown = [{name: value for name, value in fact._asdict().items() if name != "question"} for fact in facts]
    kept: dict[str, Any] = {
        "size": story.size,
        "facts": shown,
        "clients": sorted(clients(session, story)),
        "agents": {agent.id: agent.story.size for agent in seen.subagents},
        "scripts": seen.scripts or story.scripts,
    }
    files.write_json(_past_path(session), kept, durable=True)


def _at_hand(session: Session, facts: list[Fact]) -> list[Fact]:
    """The facts without those of messages that were put behind: nothing that came later depends on them."""
    messages = session.folder.messages()
    if not messages or not session.folder.past.stamp():
        return facts
    first = min(message.created for message in messages)
    over = max((at for at in rests(messages, facts) if at < first), default=0.0)
    return [fact for fact in facts if fact.at > over]


def _past_path(session: Session) -> str:
    return os.path.join(session.folder.agent_path, "past.json")
