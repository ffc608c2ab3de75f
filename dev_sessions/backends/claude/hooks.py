"""What Claude Code is told to report, and how its reports read as facts.

A hook is one line of `sh` inside the settings that the session is started with: it survives our upgrade or removal,
costs about 5 ms, and neither blocks nor fails the agent (a hook that fails is shown on the user's screen; exit code 2
of a UserPromptSubmit hook would block the prompt). The user's own hooks run beside ours and are not touched.

Payload fields as of Claude Code 2.1.150 to 2.1.330, found by experiment.
"""

from __future__ import annotations

import json
import re
import shlex

from ... import files
from ...model import COMPLETED, FAILED, INTERRUPTED, Fact, Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...records import Payload

# All known to 2.1.78 and newer; an older Claude Code refuses to start on a hook that it does not know.
EVENTS = ("SessionStart", "UserPromptSubmit", "PermissionRequest", "Stop", "StopFailure", "SessionEnd")

# What a long paste of a person's looks like to hooks and model (2.1.283 and newer).
_PASTED = re.compile(r'(?<!\n)\n*<pasted_content id="([0-9a-f]{4})">\n')


# The type of a report that stands for one which Claude does not make.
GIVEN_BACK = "prompt-given-back"
# At the end of the name of a report that was made when the agent's terminal was closed already.
_HANGUP = "-hangup.json"
# A terminal that is closed cannot be opened any more.
_HANGUP_TEST = f"[ -e /proc/$PPID/fd/0 ] && ! (: </proc/$PPID/fd/0) && e={_HANGUP}; "


def settings(facts_path: str) -> dict[str, Any]:
    """The `hooks` part of the settings: each event's payload becomes one file in `facts_path`, moved in whole."""
    commands = {event: _command(facts_path, _HANGUP_TEST if event == "SessionEnd" else "") for event in EVENTS}
    return {
        event: [{"hooks": [{"type": "command", "command": command, "timeout": 30}]}]
        for event, command in commands.items()
    }


def _command(facts_path: str, before: str) -> str:
    # The kernel's random id costs no process to read; elsewhere pid and time have to do.
    return (
        f"f={shlex.quote(facts_path)}; umask 077; e=.json; {{ {before}"
        "read -r u </proc/sys/kernel/random/uuid || u=$$-$(date +%s); "
        f'cat >"$f/.$u" && mv "$f/.$u" "$f/$u$e"; }} 2>/dev/null; exit 0'
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
    return Fact("accepted", payload.at, text=plain(str(fields.get("prompt", ""))), prompt=words(fields, "prompt_id"))


def _queue_operation(payload: Payload, fields: dict[str, Any]) -> Fact | None:
    """A line of the transcript that `delivery` has taken for a report: the prompt stands in Claude's queue."""
    text = fields.get("content")
    if fields.get("operation") != "enqueue" or not isinstance(text, str):
        return None
    return Fact("accepted", payload.at, text=plain(text), held=True)


def _stop(payload: Payload, fields: dict[str, Any]) -> Fact:
    return Fact(
        "ended",
        payload.at,
        prompt=words(fields, "prompt_id"),
        outcome=COMPLETED,
        reply=words(fields, "last_assistant_message"),
        background=len(_several(fields, "background_tasks")),
    )


def _stop_failure(payload: Payload, fields: dict[str, Any]) -> Fact:
    told = [str(fields[name]) for name in ("last_assistant_message", "error_details", "error") if fields.get(name)]
    return Fact(
        "ended",
        payload.at,
        prompt=words(fields, "prompt_id"),
        outcome=FAILED,
        error=told[0] if told else "the model could not be reached",
        background=len(_several(fields, "background_tasks")),
    )


def _given_back(payload: Payload, fields: dict[str, Any]) -> Fact:
    """What `interrupt` has seen: the prompt stood in the input box again, for its turn had ended before any output."""
    return Fact("ended", payload.at, prompt=words(fields, "prompt_id"), outcome=INTERRUPTED)


def _permission_request(payload: Payload, fields: dict[str, Any]) -> Fact:
    tool, given = str(fields.get("tool_name", "")), fields.get("tool_input")
    question = asked(payload.name.partition(".")[0], tool, given if isinstance(given, dict) else {}, payload.at)
    return Fact("asked", payload.at, prompt=words(fields, "prompt_id"), question=question)


_RULES = {
    "SessionStart": _session_start,
    "SessionEnd": _session_end,
    "UserPromptSubmit": _prompt,
    "Stop": _stop,
    "StopFailure": _stop_failure,
    "PermissionRequest": _permission_request,
    "queue-operation": _queue_operation,
    GIVEN_BACK: _given_back,
}


def asked(id: str, tool: str, given: dict[str, Any], at: float) -> Question:
    """The question that a tool call puts to a person."""
    if tool == "AskUserQuestion":
        questions = [item for item in _several(given, "questions") if isinstance(item, dict)]
        labels = [str(o.get("label")) for q in questions for o in _several(q, "options") if isinstance(o, dict)]
        return Question(id, "question", "\n".join(str(q.get("question", "")) for q in questions), tuple(labels), at)
    if tool == "ExitPlanMode":
        return Question(id, "plan", str(given.get("plan") or "The agent has a plan and asks to go on."), (), at)
    what = next((str(given[name]) for name in ("command", "file_path", "url") if given.get(name)), json.dumps(given))
    return Question(id, "permission", f"{tool}: {what}", ("allow", "deny"), at)
