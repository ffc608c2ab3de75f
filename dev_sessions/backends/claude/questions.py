"""Which of the questions that Claude Code asked are still open (2.1.150 to 2.1.332, found by experiment).

The hook that reports a question (see `hooks`) holds a pipe until it is answered. What else there is to see depends on
who asks:

- The agent itself, or a subagent in the foreground (up to 2.1.197, unless the model wants it otherwise): the dialog is
  on the screen while the hook waits, and either side may answer. A yes in the dialog does not end the hook, but the
  status file leaves `waiting`; a no, or Escape, ends it.
- A subagent in the background (every one of 2.1.332): there is no dialog while the hook waits, and neither the status
  nor the end of the agent's own turn says anything of the question. Whoever stops the subagent ends the hook. A hook of
  the user's may answer first and does not end ours; the transcript of the subagent says so.

A hook that is killed leaves the question to the dialog, or brings the dialog up.
"""

from __future__ import annotations

import json
import os
import stat

from ...model import Fact
from ...system import files
from ...turns import BUSY_ACTIVITY, WAITING_ACTIVITY
from ...values import NamedTuple
from . import container_files, hooks, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from ...model import Probe
    from ...state.folder import Folder, Payload

# The tool call may have reached the transcript so long before the question reached us. Seconds.
_BEFORE = 60.0
# What ends the questions of the agent itself.
_ENDS = ("UserPromptSubmit", "Stop", "StopFailure")


class _Asked(NamedTuple):
    """A question as it was reported. `waits`: its hook waits for the answer; `killed`: it was ended from outside."""

    id: str
    at: float
    fields: dict[str, Any]
    waits: bool
    killed: bool

    @property
    def call(self) -> str:
        return _call(self.fields.get("tool_name"), self.fields.get("tool_input"))


def pipes_path(folder: Folder) -> str:
    """Where the pipes are by which questions are answered, and beside them the answers."""
    return os.path.join(folder.agent_path, "questions")


def open_pipe(folder: Folder, id: str) -> int:
    """The pipe of a question's hook, for writing; the caller closes it, and its being opened ends nothing.

    Raises:
        FileNotFoundError: the hook is through, or never was.
        OSError: it was killed.
    """
    path = os.path.join(pipes_path(folder), id)
    if not stat.S_ISFIFO(os.lstat(path).st_mode):
        raise FileNotFoundError(path)
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def is_through(folder: Folder, id: str) -> bool:
    """True if the question's hook has come to its own end: it got an answer, or was let go."""
    return not os.path.lexists(os.path.join(pipes_path(folder), id))


def others_wait(folder: Folder, id: str) -> bool:
    """True if a hook waits for the answer to another question."""
    return any(name != id and not name.endswith(".json") and _hook(folder, name)[0] for name in _names(folder))


def _names(folder: Folder) -> list[str]:
    try:
        return os.listdir(pipes_path(folder))
    except OSError:
        return []


def _hook(folder: Folder, id: str) -> tuple[bool, bool]:
    """Whether the question's hook waits, and whether it was killed."""
    try:
        os.close(open_pipe(folder, id))
    except FileNotFoundError:
        return False, False
    except OSError:
        return False, True
    return True, False


def with_task(fact: Fact, fields: dict[str, Any]) -> Fact:
    """The fact of a report; of a subagent's question, with what the subagent was started for."""
    question = fact.question
    task = _about(fields).get("description") if question and question.agent else None
    if question is None or question.agent is None or not isinstance(task, str):
        return fact
    return fact._replace(question=question._replace(agent=question.agent._replace(task=task)))


def transcript_of(fields: dict[str, Any]) -> str | None:
    """The transcript of whoever asks: a subagent has one of its own."""
    path, agent = hooks.words(fields, "transcript_path"), hooks.subagent(fields)
    if path is None or agent is None:
        return path
    return f"{path.removesuffix('.jsonl')}/subagents/agent-{os.path.basename(agent.id)}.jsonl"


def _about(fields: dict[str, Any]) -> dict[str, Any]:
    """What Claude has noted of the subagent that a report comes from."""
    path = transcript_of(fields)
    value = container_files.read_json(f"{path.removesuffix('.jsonl')}.meta.json") if path else None
    return value if isinstance(value, dict) else {}


def answered(folder: Folder, reports: Iterable[tuple[Payload, dict[str, Any]]], probe: Probe) -> Iterator[Fact]:
    """A fact for each question of these reports that is open no more."""
    asked: dict[str | None, list[_Asked]] = {None: []}
    over: list[_Asked] = []
    for payload, fields in reports:
        event = fields.get("hook_event_name")
        if event in _ENDS:
            over += asked[None]
            asked[None] = []
        elif event == "PermissionRequest":
            id, agent = payload.name.partition(".")[0], hooks.subagent(fields)
            one = _Asked(id, payload.at, fields, *_hook(folder, id))
            asked.setdefault(agent and agent.id, []).append(one)
    own = _open(asked[None], probe, alone=True)
    left = {one.id for one in own}
    for group in (group for agent, group in asked.items() if agent is not None):
        found = _open(group, probe, alone=not own)
        left.update(one.id for one in found if not _went_on(one, probe))
    for one in (*over, *(one for group in asked.values() for one in group)):
        if one.id not in left:
            yield Fact("answered", one.at, text=one.id)


def _open(asked: Sequence[_Asked], probe: Probe, alone: bool) -> list[_Asked]:
    """Those of one agent's questions that are open.

    Args:
        alone: no other agent's question explains a dialog on the screen.
    """
    shown = probe.activity == WAITING_ACTIVITY and alone
    live = [one for one in asked if one.waits or (one.killed and shown and one is asked[-1])]
    if not live:
        return []
    last = asked[-1]
    if live == [last] and hooks.subagent(last.fields) is None:
        return live  # of the agent itself, the status tells the rest
    path = transcript_of(last.fields)
    known, unanswered = _calls(transcript.since(path, live[0].at - _BEFORE) if path else [])
    if last.call not in known:
        return [one for one in live if one is last]  # the transcript lags behind; what came before is over as a rule
    found = []
    for one in reversed(live):  # calls of the same words: those that were asked about last
        if one.call in unanswered:
            unanswered.remove(one.call)
            found.append(one)
    return found[::-1]


def _calls(entries: Iterable[dict[str, Any]]) -> tuple[set[str], list[str]]:
    """All tool calls, and those that have neither a result nor the decision of a hook."""
    calls: dict[str, str] = {}
    done = set()
    for entry in entries:
        attached = entry.get("attachment")
        if isinstance(attached, dict) and attached.get("type") == "hook_permission_decision":
            done.add(attached.get("toolUseID"))
        for block in transcript.blocks(entry):
            if block.get("type") == "tool_use":
                calls[str(block.get("id"))] = _call(block.get("name"), block.get("input"))
            elif block.get("type") == "tool_result":
                done.add(block.get("tool_use_id"))
    return set(calls.values()), [call for id, call in calls.items() if id not in done]


def _call(name: Any, given: Any) -> str:
    return json.dumps([name, given], sort_keys=True)


def _went_on(one: _Asked, probe: Probe) -> bool:
    """True if it was answered in the dialog: of a subagent in the foreground, the status tells so."""
    return probe.activity == BUSY_ACTIVITY and probe.since > one.at and _in_foreground(one.fields)


def _in_foreground(fields: dict[str, Any]) -> bool:
    """True if the call that started a subagent has no result before it ends."""
    call, path = _about(fields).get("toolUseId"), fields.get("transcript_path")
    if not isinstance(call, str) or not isinstance(path, str):
        return False
    for line in transcript.Tail(path).lines():
        if call.encode() in line:
            for block in transcript.blocks(files.parse_object(line) or {}):
                if block.get("tool_use_id") == call:
                    return False
                if block.get("id") == call:
                    return True
    return False
