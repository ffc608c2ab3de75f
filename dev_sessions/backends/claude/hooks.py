"""What Claude Code is told to report, and how its reports read as facts.

A hook is one line of `sh` inside the settings that the session is started with: it survives our upgrade or removal,
costs about 5 ms, and neither blocks nor fails the agent (a hook that fails is shown on the user's screen; exit code 2
of a UserPromptSubmit hook would block the prompt). The user's own hooks run beside ours and are not touched.

A teammate that Claude starts in a tmux pane of its own (agent teams, 2.1.197 to 2.1.332) is another process with
another conversation, and it gets the same settings. Its hooks write nothing: a report counts only if it comes from the
pane of the process that reported first, which is the one that we started. A `claude` that the agent runs from its Bash
tool does not get the settings. Subagents, and teammates without a pane, report under the agent's own session id.

Payload fields as of Claude Code 2.1.150 to 2.1.332, found by experiment.
"""

from __future__ import annotations

import json
import os
import re
import shlex

from ...model import (
    AGENT,
    COMMAND,
    COMPLETED,
    FAILED,
    INTERRUPTED,
    LIMIT,
    SCHEDULE,
    Fact,
    Part,
    Question,
    Subagent,
    Task,
)
from ...system import files
from .permissions import always

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...state.folder import Payload

# All known to 2.1.78 and newer; an older Claude Code refuses to start on a hook that it does not know.
EVENTS = ("SessionStart", "UserPromptSubmit", "PostToolUse", "PermissionRequest", "Stop", "StopFailure", "SessionEnd")
# The tools whose end is reported: they start subagents. `Task` is what older versions call `Agent`.
_LAUNCHERS = "Agent|Task"

# What a long paste of a person's looks like to hooks and model (2.1.283 and newer).
# It puts two line feeds before the tag, which take nothing from those of the text.
_PASTED = re.compile(r'\n{0,2}<pasted_content id="([0-9a-f]{4})">\n')

# How Claude tells itself that a background task has ended.
_NOTIFIED = re.compile(r"\s*<task-notification>\s*<task-id>([^<]+)</task-id>")
# The background tasks that Claude itself takes for work of the agent, and of which it tells itself when they end.
_AGENTS = ("subagent", "workflow")
# Another Claude that works with this one. It counts as running whether or not it works, and while there is one, the
# status file says `busy` (2.1.332).
_TEAMMATE = "teammate"

# What is said of a plan that the report does not hold (2.1.330; see `plans`).
PLAN_UNTOLD = "The agent has a plan and asks to go on."
# How long a question may stay open, in seconds. Node's timers end at 24 days.
QUESTION_SECONDS = 14 * 86_400
# The word through a question's pipe that means: the answer stands in the file beside it.
ANSWERED = "answered"
# The type of a report that stands for one which Claude does not make.
GIVEN_BACK = "prompt-given-back"
# At the end of the name of a report that was made when the agent's terminal was closed already.
_HANGUP = "-hangup.json"
# A terminal that is closed cannot be opened any more.
_HANGUP_TEST = f"[ -e /proc/$PPID/fd/0 ] && ! (: </proc/$PPID/fd/0) && e={_HANGUP}; "
# In the folder of the reports: the value that TMUX_PANE has in the agent's own process; empty in most containers.
_PANE = ".pane"
_CLAIM = f'[ -e "$f/{_PANE}" ] || echo "$TMUX_PANE" >"$f/{_PANE}"; '
# A hook that leaves its input unread may be reported as failed.
_OURS_ONLY = f'read -r p <"$f/{_PANE}" && [ "$p" != "$TMUX_PANE" ] && exec cat >/dev/null; '
# The kernel's random id costs no process to read; elsewhere pid and time have to do.
_ID = "read -r u </proc/sys/kernel/random/uuid || u=$$-$(date +%s)"
_WRITE = 'cat >"$f/.$u" && mv "$f/.$u" "$f/$u$e"'
# Nothing runs in the background, or the question of the pipe `p` is none of a subagent's. A quote within a text would
# have a backslash before it.
_IS_OVER = """&& { grep -q '"background_tasks":\\[\\]' "$f/$u$e" || ! grep -q '"agent_id":' "$f/${p##*/}.json"; } """


def settings(facts_path: str, questions_path: str) -> dict[str, Any]:
    """The `hooks` part of the settings: each event's payload becomes one file in `facts_path`, moved in whole.

    That of a question then waits for the answer, on a pipe of its own in `questions_path`: no processor time is spent
    and no answer can reach another question. What still waits at the end of a turn is let go, but for the questions of
    subagents while anything runs in the background; at the end of the session, all.
    """
    commands = dict.fromkeys(EVENTS, (_report(facts_path), 30))
    commands["SessionStart"] = (_report(facts_path, _CLAIM), 30)
    commands["PermissionRequest"] = (_question(facts_path, questions_path), QUESTION_SECONDS)
    for name in ("Stop", "StopFailure"):
        commands[name] = (_last(facts_path, questions_path, which=_IS_OVER), 30)
    commands["SessionEnd"] = (_last(facts_path, questions_path, before=_HANGUP_TEST), 30)
    found: dict[str, Any] = {
        name: [{"hooks": [{"type": "command", "command": command, "timeout": seconds}]}]
        for name, (command, seconds) in commands.items()
    }
    found["PostToolUse"][0]["matcher"] = _LAUNCHERS
    return found


def forget_pane(facts_path: str) -> None:
    """Let the next agent that starts be the one whose reports count; `launch` calls it before each start."""
    files.remove(os.path.join(facts_path, _PANE))


def _report(facts_path: str, before: str = "") -> str:
    return (
        f"f={shlex.quote(facts_path)}; umask 077; e=.json; "
        f"{{ {before}{_OURS_ONLY}{_ID}; {_WRITE}; }} 2>/dev/null; exit 0"
    )


def _question(facts_path: str, questions_path: str) -> str:
    # Opened for both directions a pipe neither blocks nor ends, whoever else opens and closes it.
    return (
        f"f={shlex.quote(facts_path)}; q={shlex.quote(questions_path)}; umask 077; e=.json; "
        f'{{ {_OURS_ONLY}{_ID}; mkfifo "$q/$u"; exec 3<>"$q/$u" && {_WRITE} && read -r a <&3 && '
        f'[ "$a" = {ANSWERED} ] && cat "$q/$u.json"; rm -f "$q/$u"; }} 2>/dev/null; exit 0'
    )


def _last(facts_path: str, questions_path: str, before: str = "", which: str = "") -> str:
    return (
        f"f={shlex.quote(facts_path)}; q={shlex.quote(questions_path)}; umask 077; e=.json; {{ "
        f"{_OURS_ONLY}{before}{_ID}; {_WRITE}; "
        f'for p in "$q"/*; do [ -p "$p" ] {which}&& echo over 1<>"$p"; done; }} 2>/dev/null; exit 0'
    )


def parse(payload: Payload) -> dict[str, Any]:
    """A payload's fields; empty if it is no JSON object (a hook killed half way leaves no file, a full disk may)."""
    return files.parse_object(payload.content) or {}


def words(fields: dict[str, Any], name: str) -> str | None:
    """A field that is to be text; None if it is not."""
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _several(fields: dict[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    return value if isinstance(value, list) else []


def fact(payload: Payload, fields: dict[str, Any]) -> Fact | None:
    """The fact that a hook payload tells, or None."""
    if "agent_id" in fields and fields.get("hook_event_name") != "PermissionRequest":
        return None  # a subagent of its own: how its turns fail is reported as StopFailure too (2.1.332)
    rule = _RULES.get(str(fields.get("hook_event_name") or fields.get("type")))
    return rule(payload, fields) if rule else None


def plain(text: str) -> str:
    """A prompt as it was given: without the tags around pasted text, without the trailing blanks that Claude trims."""
    return (_unwrapped(text) if "<pasted_content id=" in text else text).rstrip()


def _unwrapped(text: str) -> str:
    kept, begin = [], 0
    endless = set()  # ids whose end does not come, not to be looked for again and again
    while opening := _PASTED.search(text, begin):
        end = f'\n</pasted_content id="{opening[1]}">\n'
        at = -1 if opening[1] in endless else text.find(end, opening.end())
        if at < 0:
            endless.add(opening[1])
            kept.append(text[begin : opening.end()])
            begin = opening.end()
        else:
            kept += [text[begin : opening.start()], text[opening.end() : at]]
            begin = at + len(end)
    return "".join([*kept, text[begin:]])


def _session_start(payload: Payload, fields: dict[str, Any]) -> Fact | None:
    # A compaction in the middle of a turn, and /clear, start a "session" too; the program is the same.
    return Fact("alive", payload.at) if fields.get("source") in ("startup", "resume") else None


def _session_end(payload: Payload, fields: dict[str, Any]) -> Fact | None:
    reason = str(fields.get("reason", "other"))
    if reason in ("clear", "resume"):
        return None  # the program goes on, with another conversation
    closed = payload.name.endswith(_HANGUP)
    why = "its terminal was closed: the tmux session, or the tmux server, has ended" if closed else _why(reason)
    return Fact("gone", payload.at, error=why)


def _why(reason: str) -> str:
    return "the agent was ended, by a signal most likely" if reason == "other" else f"the agent ended itself ({reason})"


def _prompt(payload: Payload, fields: dict[str, Any]) -> Fact:
    text = plain(str(fields.get("prompt", "")))
    return Fact("accepted", payload.at, text=text, prompt=words(fields, "prompt_id"), task=task_of(text))


def task_of(prompt: str) -> str | None:
    """The background task that has ended, if Claude gave itself that prompt to say so (2.1.150 to 2.1.332)."""
    found = _NOTIFIED.match(prompt)
    return found[1] if found else None


def _queue_operation(payload: Payload, fields: dict[str, Any]) -> Fact | None:
    """A line of the transcript that `delivery` has taken for a report: the prompt stands in Claude's queue."""
    text = fields.get("content")
    if fields.get("operation") != "enqueue" or not isinstance(text, str):
        return None
    return Fact("accepted", payload.at, text=plain(text), held=True)


def _launched(payload: Payload, fields: dict[str, Any]) -> Fact | None:
    """A subagent that the agent has started in the background; of one that it waits for nothing need be known."""
    id = launched(fields.get("tool_response"))
    return None if id is None else Fact("launched", payload.at, prompt=words(fields, "prompt_id"), task=id)


def launched(result: Any) -> str | None:
    """The id of the subagent that a tool says to have started in the background (2.1.150 to 2.1.332)."""
    known = isinstance(result, dict) and result.get("status") == "async_launched"
    return words(result, "agentId") if known else None


def _stop(payload: Payload, fields: dict[str, Any]) -> Fact:
    return Fact(
        "ended",
        payload.at,
        prompt=words(fields, "prompt_id"),
        outcome=COMPLETED,
        reply=words(fields, "last_assistant_message"),
        background=len(left := _left(fields)),
        subagents=_subagents(fields, left),
        again=fields.get("stop_hook_active") is True,
        left=left,
    )


def _subagents(fields: dict[str, Any], left: tuple[Task, ...]) -> tuple[str, ...] | None:
    """The subagents that work on; None if that cannot be told."""
    tasks = _several(fields, "background_tasks")
    if "background_tasks" not in fields or any(isinstance(one, dict) and one.get("type") == _TEAMMATE for one in tasks):
        return None
    return tuple(task.id for task in left if task.kind == AGENT)


def _left(fields: dict[str, Any]) -> tuple[Task, ...]:
    """What runs on after a turn, and the prompts that Claude will give itself (`/loop`, a wake-up of its own)."""
    tasks = [task for task in _several(fields, "background_tasks") if isinstance(task, dict)]
    plans = [plan for plan in _several(fields, "session_crons") if isinstance(plan, dict)]
    return (
        *(Task(str(task.get("id")), _kind(task), words(task, "command") or _title(task)) for task in tasks),
        *(Task(str(plan.get("id")), SCHEDULE, f"{plan.get('schedule')}: {plan.get('prompt')}") for plan in plans),
    )


def _kind(task: dict[str, Any]) -> str:
    return AGENT if task.get("type") in _AGENTS else COMMAND


def _title(task: dict[str, Any]) -> str:
    return words(task, "description") or str(task.get("type"))


def _stop_failure(payload: Payload, fields: dict[str, Any]) -> Fact:
    told = [str(fields[name]) for name in ("last_assistant_message", "error_details", "error") if fields.get(name)]
    return Fact(
        "ended",
        payload.at,
        prompt=words(fields, "prompt_id"),
        outcome=FAILED,
        error=told[0] if told else "the model could not be reached",
        reason=reason(fields),
    )


def reason(fields: dict[str, Any]) -> str | None:
    """Why a turn failed, by the kind of error that reports and transcript share; the time of a reset is in the latter.

    "rate_limit" is the answer 429: a limit of the plan's, or of an API key (2.1.150 to 2.1.332).
    """
    return LIMIT if fields.get("error") == "rate_limit" else None


def _given_back(payload: Payload, fields: dict[str, Any]) -> Fact:
    """What `interrupt` has seen: the prompt stood in the input box again, for its turn had ended before any output."""
    return Fact("ended", payload.at, prompt=words(fields, "prompt_id"), outcome=INTERRUPTED)


def _permission_request(payload: Payload, fields: dict[str, Any]) -> Fact:
    tool, given = str(fields.get("tool_name", "")), fields.get("tool_input")
    repeatable = bool(always(fields))
    id = payload.name.partition(".")[0]
    question = asked(id, tool, given if isinstance(given, dict) else {}, payload.at, repeatable)
    question = question._replace(agent=subagent(fields))
    # Several may be open at once; which of them still are, `questions` tells.
    return Fact("asked", payload.at, prompt=words(fields, "prompt_id"), question=question, held=True)


def subagent(fields: dict[str, Any]) -> Subagent | None:
    """The subagent that a report comes from; None if it is the session's own agent."""
    id = words(fields, "agent_id")
    return Subagent(id, words(fields, "agent_type") or "") if id else None


_RULES = {
    "SessionStart": _session_start,
    "SessionEnd": _session_end,
    "UserPromptSubmit": _prompt,
    "Stop": _stop,
    "StopFailure": _stop_failure,
    "PostToolUse": _launched,
    "PermissionRequest": _permission_request,
    "queue-operation": _queue_operation,
    GIVEN_BACK: _given_back,
}


def asked(id: str, tool: str, given: dict[str, Any], at: float, repeatable: bool = False) -> Question:
    """The question that a tool call puts to a person; `repeatable`: it may be allowed for good (see `rules`)."""
    if tool == "AskUserQuestion":
        parts = tuple(_part(item) for item in _several(given, "questions") if isinstance(item, dict))
        labels = tuple(label for part in parts for label in part.options)
        return Question(id, "question", "\n".join(part.text for part in parts), labels, at, parts)
    if tool == "ExitPlanMode":
        text = str(given.get("plan") or PLAN_UNTOLD)
        return Question(id, "plan", text, ("allow", "deny"), at)
    choices = ("allow", "always", "deny") if repeatable else ("allow", "deny")
    return Question(id, "permission", f"{tool}: {_in_full(given)}", choices, at)


def _part(item: dict[str, Any]) -> Part:
    options = [option for option in _several(item, "options") if isinstance(option, dict)]
    labels = tuple(str(option.get("label", "")) for option in options)
    details = tuple(str(option.get("description") or "") for option in options)
    return Part(str(item.get("question", "")), labels, details, item.get("multiSelect") is True)


def _in_full(given: dict[str, Any]) -> str:
    """What a tool is to do: the command or file, and below it all else that it is given."""
    name = next((name for name in ("command", "file_path", "url") if given.get(name)), None)
    if name is None:
        return json.dumps(given, ensure_ascii=False)
    rest = {other: value for other, value in given.items() if other not in (name, "description")}
    lines = [f"{other}: {value if isinstance(value, str) else json.dumps(value)}" for other, value in rest.items()]
    return "\n".join([str(given[name]), *lines])
