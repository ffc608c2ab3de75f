"""The questions of Claude Code that are still open (2.1.221 to 2.1.332, found by experiment).

The hook that reports a question (see `hooks`) holds a pipe open until the question is answered. Other evidence depends
on who asks:

- The agent itself, or a subagent in the foreground (in 2.1.221, if the model chooses that): the dialog is on the screen
  while the hook waits, and either side may answer. A yes in the dialog does not end the hook, but the status file
  changes from `waiting`; a no, or Escape, ends the hook.
- A subagent in the background (in 2.1.332, all of them): there is no dialog while the hook waits, and neither the
  status nor the end of the agent's own turn shows anything about the question. Stopping the subagent ends the hook. If
  a hook of the user answers first, ours does not end; the transcript of the subagent shows the answer.

If a hook is killed, its question can be answered in the dialog, which appears then if it was not shown before.
"""

from __future__ import annotations

import json
import os
import stat

from ...model import Fact
from ...system import files
from ...turns import BUSY_ACTIVITY, WAITING_ACTIVITY
from ...values import NamedTuple
from . import container, hooks, paths, transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ...model import Probe
    from ...state.folder import Folder, Payload

# How long before the question was reported the tool call may have reached the transcript. Seconds.
_BEFORE = 60.0
# Reports that end the agent's own questions.
_ENDS = ("UserPromptSubmit", "Stop", "StopFailure")


class _Asked(NamedTuple):
    """A reported question. `waits`: its hook waits for the answer; `killed`: its hook was killed by something else."""

    id: str
    at: float
    fields: dict[str, Any]
    waits: bool
    killed: bool

    @property
    def call(self) -> str:
        return _key(self.fields.get("tool_name"), self.fields.get("tool_input"))


def open_pipe(folder: Folder, id: str) -> int:
    """Open the pipe of a question's hook for writing; the caller closes it. Opening it does not end the hook.

    Raises:
        FileNotFoundError: the hook has ended, or never ran.
        OSError: the hook was killed.
    """
    path = os.path.join(paths.questions(folder), id)
    if not stat.S_ISFIFO(os.lstat(path).st_mode):
        raise FileNotFoundError(path)
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def has_finished(folder: Folder, id: str) -> bool:
    """True if the question's hook has ended normally: it received an answer or was released."""
    return not os.path.lexists(os.path.join(paths.questions(folder), id))


def others_wait(folder: Folder, id: str) -> bool:
    """True if a hook waits for the answer to another question."""
    try:
        names = os.listdir(paths.questions(folder))
    except OSError:
        return False
    return any(name != id and not name.endswith(".json") and _hook(folder, name)[0] for name in names)


def _hook(folder: Folder, id: str) -> tuple[bool, bool]:
    """Return (the question's hook waits, it was killed)."""
    try:
        os.close(open_pipe(folder, id))
    except FileNotFoundError:
        return False, False
    except OSError:
        return False, True
    return True, False


def with_task(fact: Fact, fields: dict[str, Any]) -> Fact:
    """The fact of a report; a subagent's question also gets the subagent's task."""
    question = fact.question
    if question is None or question.agent is None:
        return fact
    task = hooks.text_of(_notes(fields), "description") or question.agent.task
    return fact._replace(question=question._replace(agent=question.agent._replace(task=task)))


def with_plan(facts: list[Fact], path: str | None) -> list[Fact]:
    """Add the whole plan to an open question about one: the reports of 2.1.330 and newer do not contain it.

    Args:
        path: the transcript.
    """
    answered = {fact.text for fact in facts if fact.kind == "answered"}
    for place in reversed(range(len(facts))):
        question = facts[place].question
        if question is not None and question.kind == "plan" and question.id not in answered:
            plan = transcript.plan(path) if path and question.text == hooks.PLAN_UNKNOWN else ""
            whole = facts[place]._replace(question=question._replace(text=plan or question.text))
            return [*facts[:place], whole, *facts[place + 1 :]]
    return facts


def transcript_of(fields: dict[str, Any]) -> str | None:
    """The transcript of the agent that asks: a subagent has a separate one."""
    path, agent = hooks.text_of(fields, "transcript_path"), hooks.subagent(fields)
    if path is None or agent is None:
        return path
    return f"{path.removesuffix('.jsonl')}/subagents/agent-{os.path.basename(agent.id)}.jsonl"


def _notes(fields: dict[str, Any]) -> dict[str, Any]:
    """Claude's notes about the subagent that sent a report."""
    path = transcript_of(fields)
    value = container.read_json(f"{path.removesuffix('.jsonl')}.meta.json") if path else None
    return value if isinstance(value, dict) else {}


def answered(folder: Folder, reports: Iterable[tuple[Payload, dict[str, Any]]], probe: Probe) -> Iterator[Fact]:
    """A fact for each question in these reports that is no longer open."""
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
        left.update(one.id for one in found if not _has_gone_on(one, probe))
    for one in (*over, *(one for group in asked.values() for one in group)):
        if one.id not in left:
            yield Fact("answered", one.at, text=one.id)


def _open(asked: list[_Asked], probe: Probe, alone: bool) -> list[_Asked]:
    """One agent's questions that are still open.

    Args:
        alone: no other agent's question explains a dialog on the screen.
    """
    shown = probe.activity == WAITING_ACTIVITY and alone
    live = [one for one in asked if one.waits or (one.killed and shown and one is asked[-1])]
    if not live:
        return []
    last = asked[-1]
    if live == [last] and hooks.subagent(last.fields) is None:
        return live  # for the agent itself, the status shows the rest
    path = transcript_of(last.fields)
    calls: dict[str, str] = {}
    done = set()
    for event in transcript.tool_events(transcript.since(path, live[0].at - _BEFORE) if path else []):
        if event.kind == "tool_use":
            calls[event.id] = _key(event.fields.get("name"), event.fields.get("input"))
        else:
            done.add(event.id)
    if last.call not in calls.values():
        return [one for one in live if one is last]  # the transcript lags behind; usually the earlier ones are over
    unanswered = [call for id, call in calls.items() if id not in done]
    found = []
    for one in reversed(live):  # of calls with the same input, the ones asked about last
        if one.call in unanswered:
            unanswered.remove(one.call)
            found.append(one)
    return found[::-1]


def _key(name: Any, given: Any) -> str:
    """A key that a question and its tool call share."""
    return json.dumps([name, given], sort_keys=True)


def _has_gone_on(one: _Asked, probe: Probe) -> bool:
    """True if a subagent's question was answered in the dialog; the status shows that for one in the foreground.

    A subagent is in the foreground if the call that started it has no result until the subagent ends.
    """
    if probe.activity != BUSY_ACTIVITY or probe.since <= one.at:
        return False
    call, path = hooks.text_of(_notes(one.fields), "toolUseId"), hooks.text_of(one.fields, "transcript_path")
    if call is None or path is None:
        return False
    for line in transcript.reversed_lines(path):
        entry = files.parse_object(line) if call.encode() in line else None
        for event in transcript.tool_events([entry] if entry else []):
            if event.id == call and event.kind in ("tool_use", "tool_result"):
                return event.kind == "tool_use"
    return False
