"""Claude Code's hooks: the settings for them, and the facts that their reports state.

A hook is one line of `sh` inside the settings with which the session is started. It keeps working when dev-sessions is
upgraded or removed, costs about 5 ms, and neither blocks the agent nor causes an error in it (Claude shows a failed
hook on the user's screen, and exit code 2 of a UserPromptSubmit hook would block the prompt). The user's own hooks run
in addition to ours and are not changed.

A teammate that Claude starts in a separate tmux pane (agent teams, 2.1.221 to 2.1.332) is another process with another
conversation, and it gets the same settings. Its hooks write nothing: a report counts only if it comes from the pane of
the process that reported first, which is the one that we started. A `claude` that the agent runs from its Bash tool
does not get the settings. Subagents, and teammates without a pane, report under the agent's own session id.

Payload fields as of Claude Code 2.1.221 to 2.1.332, found by experiment.
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
from ..entries import as_text
from . import container, paths
from .permissions import always

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ...state.folder import Payload
    from ..session import Session

EVENTS = ("SessionStart", "UserPromptSubmit", "PostToolUse", "PermissionRequest", "Stop", "StopFailure", "SessionEnd")

# The tags around a long pasted text in a prompt (2.1.283 and newer), and the line feeds that Claude adds before them.
_PASTED = re.compile(r'\n{0,2}<pasted_content id="([0-9a-f]{4})">\n')
# The prompt in which Claude reports to itself that a background task has ended.
_NOTIFIED = re.compile(r"\s*<task-notification>\s*<task-id>([^<]+)</task-id>")
# The background tasks that Claude counts as the agent's work, and whose end it reports to itself.
_AGENTS = ("subagent", "workflow")

# The text of a plan's question while the plan itself is not known (2.1.330; see `transcript.plan`).
PLAN_UNKNOWN = "The agent has a plan and asks to go on."
# How long a question may stay open, in seconds. Node's timers end at 24 days.
QUESTION_SECONDS = 14 * 86_400
# Written into a question's pipe when the answer is in the file beside it.
ANSWERED = "answered"
# The type of a report that `interrupt` writes, because Claude does not write one.
GIVEN_BACK = "prompt-given-back"

# The end of a report's name if the agent's terminal was closed: such a terminal can no longer be opened.
_HANGUP = "-hangup.json"
_HANGUP_TEST = f"[ -e /proc/$PPID/fd/0 ] && ! (: </proc/$PPID/fd/0) && e={_HANGUP}; "
# A file in the reports folder with the value of TMUX_PANE in the agent's own process; empty in most containers.
_PANE = ".pane"
_CLAIM = f'[ -e "$f/{_PANE}" ] || echo "$TMUX_PANE" >"$f/{_PANE}"; '
# Claude may report a hook as failed if it does not read its input.
_OURS_ONLY = f'read -r p <"$f/{_PANE}" && [ "$p" != "$TMUX_PANE" ] && exec cat >/dev/null; '
# The kernel's random id can be read without starting a process; elsewhere the name is made from pid and time.
_ID = "read -r u </proc/sys/kernel/random/uuid || u=$$-$(date +%s); "
_WRITE = 'cat >"$f/.$u" && mv "$f/.$u" "$f/$u$e"'
# Each question waits on its own pipe. Because it is opened for reading and writing, it neither blocks nor ends, even if
# others open it.
_WAIT = (
    f'mkfifo "$q/$u"; exec 3<>"$q/$u" && {_WRITE} && read -r a <&3 && '
    f'[ "$a" = {ANSWERED} ] && cat "$q/$u.json"; rm -f "$q/$u"'
)
# Either nothing runs in the background, or the question of the pipe `p` is not a subagent's. A quote inside a text
# would have a backslash before it.
_IS_OVER = """&& { grep -q '"background_tasks":\\[\\]' "$f/$u$e" || ! grep -q '"agent_id":' "$f/${p##*/}.json"; } """
_RELEASE = '; for p in "$q"/*; do [ -p "$p" ] %s&& echo over 1<>"$p"; done'


def settings(facts_path: str, questions_path: str) -> dict[str, Any]:
    """The `hooks` part of the settings: each event's payload becomes a file in `facts_path`, moved there when complete.

    The hook of a question then waits for the answer, on its own pipe in `questions_path`: it uses no processor time,
    and no answer can reach another question. The end of a turn releases the hooks that still wait, except those of
    subagents while anything runs in the background; the end of the session releases all of them.
    """
    before = f"f={shlex.quote(facts_path)}; q={shlex.quote(questions_path)}; umask 077; e=.json; {{ "
    report = f"{_OURS_ONLY}{_ID}{_WRITE}"
    lines = dict.fromkeys(EVENTS, report)
    lines["SessionStart"] = f"{_CLAIM}{report}"
    lines["PermissionRequest"] = f"{_OURS_ONLY}{_ID}{_WAIT}"
    lines["Stop"] = lines["StopFailure"] = report + _RELEASE % _IS_OVER
    lines["SessionEnd"] = f"{_OURS_ONLY}{_HANGUP_TEST}{_ID}{_WRITE}" + _RELEASE % ""
    found: dict[str, Any] = {}
    for name, line in lines.items():
        seconds = QUESTION_SECONDS if name == "PermissionRequest" else 30
        hook = {"type": "command", "command": f"{before}{line}; }} 2>/dev/null; exit 0", "timeout": seconds}
        found[name] = [{"hooks": [hook]}]
    found["PostToolUse"][0]["matcher"] = "Agent"  # the tool that starts subagents
    return found


def forget_pane(facts_path: str) -> None:
    """Accept reports from the next agent that starts; `launch` calls this before each start."""
    files.remove(os.path.join(facts_path, _PANE))


def reports(session: Session, since: float = 0.0) -> list[tuple[Payload, dict[str, Any]]]:
    """What Claude has reported since a time, each report with its fields.

    In a container, any process could have written a report: a transcript outside Claude's own folder is ignored.
    """
    found = [(payload, parse(payload)) for payload in session.folder.facts(since)]
    if session.contained:
        for _, fields in found:
            path = text_of(fields, "transcript_path")
            if path is not None and not container.is_transcript(path, paths.config_folder(session)):
                del fields["transcript_path"]
    return found


def parse(payload: Payload) -> dict[str, Any]:
    """A payload's fields; empty if it is not a JSON object (a full disk may leave half a file)."""
    return files.parse_object(payload.content) or {}


def text_of(fields: dict[str, Any], name: str) -> str | None:
    """A text field; None if it is missing or is not text."""
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = fields.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def fact(payload: Payload, fields: dict[str, Any]) -> Fact | None:
    """The fact that a hook's report states, or None if it states none."""
    event = str(fields.get("hook_event_name") or fields.get("type"))
    if "agent_id" in fields and event != "PermissionRequest":
        return None  # a subagent's own report, such as the StopFailure of its turn (2.1.332)
    prompt = text_of(fields, "prompt_id")
    match event:
        case "SessionStart":
            # A compaction during a turn, and /clear, start a "session" too, in the same process.
            return Fact("alive", payload.at) if fields.get("source") in ("startup", "resume") else None
        case "SessionEnd":
            return _gone(payload, str(fields.get("reason", "other")))
        case "UserPromptSubmit":
            text = plain(str(fields.get("prompt", "")))
            return Fact("accepted", payload.at, text=text, prompt=prompt, task=task_of(text))
        case "Stop":
            return _ended(payload, fields)
        case "StopFailure":
            errors = (fields.get(name) for name in ("last_assistant_message", "error_details", "error"))
            error = next((str(one) for one in errors if one), "the model could not be reached")
            failed = Fact("ended", payload.at, prompt=prompt, outcome=FAILED, error=error)
            return failed._replace(reason=reason(fields))
        case "PostToolUse":
            subagent = launched(fields.get("tool_response"))
            return None if subagent is None else Fact("launched", payload.at, prompt=prompt, task=subagent)
        case "PermissionRequest":
            return _asked(payload, fields)
        case "queue-operation":
            # A line of the transcript that `deliver` stored as a report: the prompt is in Claude's queue.
            queued = text_of(fields, "content") if fields.get("operation") == "enqueue" else None
            return None if queued is None else Fact("accepted", payload.at, text=plain(queued), held=True)
        case _ if event == GIVEN_BACK:
            return Fact("ended", payload.at, prompt=prompt, outcome=INTERRUPTED)
    return None


def facts(reports: Iterable[tuple[Payload, dict[str, Any]]]) -> list[Fact]:
    """The facts that these reports state."""
    return [found for payload, fields in reports if (found := fact(payload, fields)) is not None]


def plain(text: str) -> str:
    """The original text of a prompt: without the tags around pasted text and the trailing blanks that Claude trims."""
    if "<pasted_content id=" not in text:
        return text.rstrip()
    kept, begin = [], 0
    endless = set()  # ids without an end tag, so that they are searched only once
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
    return "".join([*kept, text[begin:]]).rstrip()


def _gone(payload: Payload, reason: str) -> Fact | None:
    if reason in ("clear", "resume"):
        return None  # the program continues, with another conversation
    if payload.name.endswith(_HANGUP):
        why = "its terminal was closed: the tmux session, or the tmux server, has ended"
    elif reason == "other":
        why = "the agent was ended, by a signal most likely"
    else:
        why = f"the agent ended itself ({reason})"
    return Fact("gone", payload.at, error=why)


def task_of(prompt: str) -> str | None:
    """The background task that has ended, if Claude sent itself this prompt to report that (2.1.221 to 2.1.332)."""
    found = _NOTIFIED.match(prompt)
    return found[1] if found else None


def launched(result: Any) -> str | None:
    """The id of the subagent that a tool started in the background, from the tool's result (2.1.221 to 2.1.332)."""
    known = isinstance(result, dict) and result.get("status") == "async_launched"
    return text_of(result, "agentId") if known else None


def _ended(payload: Payload, fields: dict[str, Any]) -> Fact:
    """A turn's end, with the work that continues after it, and prompts that Claude will send itself (`/loop`)."""
    tasks = _objects(fields, "background_tasks")
    running = [
        Task(
            str(task.get("id")),
            AGENT if task.get("type") in _AGENTS else COMMAND,
            text_of(task, "command") or text_of(task, "description") or str(task.get("type")),
        )
        for task in tasks
    ]
    planned = [
        Task(str(plan.get("id")), SCHEDULE, f"{plan.get('schedule')}: {plan.get('prompt')}")
        for plan in _objects(fields, "session_crons")
    ]
    # A teammate counts as running whether or not it works. While there is one, the status file shows `busy` (2.1.332),
    # so it is not known which subagents are still working.
    known = "background_tasks" in fields and not any(task.get("type") == "teammate" for task in tasks)
    return Fact(
        "ended",
        payload.at,
        prompt=text_of(fields, "prompt_id"),
        outcome=COMPLETED,
        reply=text_of(fields, "last_assistant_message"),
        background=len(running) + len(planned),
        subagents=tuple(task.id for task in running if task.kind == AGENT) if known else None,
        again=fields.get("stop_hook_active") is True,
        left=(*running, *planned),
    )


def reason(fields: dict[str, Any]) -> str | None:
    """Why a turn failed, by the kind of error in the report or transcript. Only the transcript has the reset time.

    "rate_limit" is the answer 429: a limit of the plan or of an API key (2.1.221 to 2.1.332).
    """
    return LIMIT if fields.get("error") == "rate_limit" else None


def _asked(payload: Payload, fields: dict[str, Any]) -> Fact:
    given = fields.get("tool_input")
    question = asked(
        payload.name.partition(".")[0],
        str(fields.get("tool_name", "")),
        given if isinstance(given, dict) else {},
        payload.at,
        repeatable=bool(always(fields)),
    )
    question = question._replace(agent=subagent(fields))
    # Several questions may be open at once; `questions` finds out which are still open.
    return Fact("asked", payload.at, prompt=text_of(fields, "prompt_id"), question=question, held=True)


def subagent(fields: dict[str, Any]) -> Subagent | None:
    """The subagent that sent a report; None if the session's own agent sent it."""
    id = text_of(fields, "agent_id")
    return Subagent(id, text_of(fields, "agent_type") or "") if id else None


def asked(id: str, tool: str, given: dict[str, Any], at: float, repeatable: bool = False) -> Question:
    """The question that a tool call asks; `repeatable`: it can be allowed permanently (see `permissions`)."""
    if tool == "AskUserQuestion":
        parts = tuple(_part(item) for item in _objects(given, "questions"))
        labels = tuple(label for part in parts for label in part.options)
        return Question(id, "question", "\n".join(part.text for part in parts), labels, at, parts)
    if tool == "ExitPlanMode":
        return Question(id, "plan", str(given.get("plan") or PLAN_UNKNOWN), ("allow", "deny"), at)
    choices = ("allow", "always", "deny") if repeatable else ("allow", "deny")
    # The command or file first, then every other input of the tool.
    name = next((name for name in ("command", "file_path", "url") if given.get(name)), None)
    if name is None:
        shown = json.dumps(given, ensure_ascii=False)
    else:
        rest = {other: value for other, value in given.items() if other not in (name, "description")}
        shown = "\n".join([str(given[name]), *(f"{other}: {as_text(value)}" for other, value in rest.items())])
    return Question(id, "permission", f"{tool}: {shown}", choices, at)


def _part(item: dict[str, Any]) -> Part:
    options = _objects(item, "options")
    labels = tuple(str(option.get("label", "")) for option in options)
    details = tuple(str(option.get("description") or "") for option in options)
    return Part(str(item.get("question", "")), labels, details, item.get("multiSelect") is True)
