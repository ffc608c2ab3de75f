"""The values that the packages share: Message, Fact, Probe, Turn, State, Question, Entry.

All times are seconds since the epoch (`time.time`).
"""

from __future__ import annotations

from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    Prompted = Literal["accepted", "joined", "returned", "started", "ended"]
    Kind = Prompted | Literal["launched", "stopped", "asked", "answered", "alive", "gone", "revived"]

# The states of a session.
IDLE, WORKING, WAITING, EXITED = "idle", "working", "waiting_for_input", "exited"
# Other states of a turn, and outcomes of `wait`.
QUEUED, COMPLETED, FAILED, INTERRUPTED = "queued", "completed", "failed", "interrupted"
LIMIT = "limit"  # the reason of a failed turn: the account has reached a limit of the model's service

STATUSES = (IDLE, WORKING, WAITING, EXITED)
PERMISSIONS = ("full", "edit", "ask", "plan")


class Message(NamedTuple):
    """An act: our message to a session, as its folder describes it.

    Attributes:
        number: 1, 2, 3, ... within the session; also the id of its turn.
        wire: the text that the agent gets; for a message sent as a file, a line that names the file.
        via: "terminal", "file" or "rpc".
        request_id: two requests with the same id are the same message.
        created: when it was recorded.
        queued: it waits for a turn of its own.
        attempted: the first time at which it may have reached the agent, or None.
        receipt: "started" or "accepted" once the agent has confirmed it, else None.
        unconfirmed: its sender gave up, or ended, without a receipt.
    """

    number: int
    wire: str
    via: str
    request_id: str
    created: float
    queued: bool = False
    attempted: float | None = None
    receipt: str | None = None
    unconfirmed: bool = False


class Part(NamedTuple):
    """One of several questions that are asked together.

    Attributes:
        text: the question.
        options: the labels of the choices; any other text is an answer too.
        details: the descriptions of the choices.
        multiple: several choices may be picked.
    """

    text: str
    options: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    multiple: bool = False

    def to_json(self) -> dict[str, Any]:
        padded = (*self.details, *("" for _ in self.options))
        options = [{"label": one, "description": about} for one, about in zip(self.options, padded, strict=False)]
        return {"text": self.text, "options": options, "multiple": self.multiple}


class Subagent(NamedTuple):
    """An agent that the session's agent started inside the same program.

    Attributes:
        id: the program's own id for it.
        type: for example "general-purpose".
        task: its task in a few words; empty if unknown.
    """

    id: str
    type: str
    task: str = ""


class Question(NamedTuple):
    """A question that a session asks a person (or its parent).

    Attributes:
        id: stays the same while the question is open; letters, digits, `.`, `_` and `-` only.
        kind: "permission", "question", "plan" or "dialog".
        text: the question in full.
        options: the labels of the choices, if any; for a permission or plan "allow", "deny" and sometimes "always".
        since: when it was asked.
        parts: the single questions, for the kind "question".
        agent: the subagent that asks; None if the session's own agent asks. A subagent's question stays open until a
            fact reports that it was answered.
    """

    id: str
    kind: str
    text: str
    options: tuple[str, ...]
    since: float
    parts: tuple[Part, ...] = ()
    agent: Subagent | None = None

    def to_json(self) -> dict[str, Any]:
        options = [{"label": label} for label in self.options]
        agent = self.agent and self.agent._asdict()
        return {**self._asdict(), "options": options, "parts": [part.to_json() for part in self.parts], "agent": agent}


def asker(question: Mapping[str, Any]) -> str:
    """The subagent that asks a question (as JSON), as a phrase to put after the question's kind; empty if none asks."""
    agent = question.get("agent")  # missing from an older host
    if not agent:
        return ""
    return f" of its subagent {agent['type'] or agent['id']}" + (f": {agent['task']}" if agent["task"] else "")


def ways(id: str, question: Mapping[str, Any]) -> str:
    """The commands that answer a question (as JSON) of the session `id`.

    They name the question, so that the answer cannot go to a later one.
    """
    if question["kind"] == "dialog":
        return f"dev-sessions attach {id}, or dev-sessions respond {id} --key K"
    if question["kind"] == "question":
        answer = "--choose 1.N --choose 2.N ..." if len(question["parts"]) > 1 else "--choose N, or --text T"
    elif question["options"]:
        answer = ", or ".join(f"--{option['label']}" for option in question["options"])
    else:
        return f"dev-sessions attach {id}"
    return f"dev-sessions respond {id} --question {question['id']} {answer}"


# The kinds of work that an agent leaves running when it ends a turn.
AGENT, COMMAND, SCHEDULE = "agent", "command", "schedule"


class Task(NamedTuple):
    """Work that an agent left running.

    `kind` is "agent" (a subagent), "command" or "schedule" (a prompt that the agent will give itself at a set time);
    `text` is the command or a description.
    """

    id: str
    kind: str
    text: str


class Fact(NamedTuple):
    """A report of the agent, in terms that all agents share. Its `kind` is one of:

    accepted: the agent has taken the prompt `text` as its turn `prompt`. `held`: it put the prompt into its own queue.
        `task`: it gave itself this prompt because the background task with that id has ended.
    joined: the held prompt `text` has become part of the running turn.
    returned: a person took the held prompt `text` back; it will not run.
    started: the held prompt `text` has become the turn `prompt`.
    ended: the turn `prompt` has ended as `outcome` (completed, failed, interrupted) with `reply` or `error`.
        `background` counts the work left running, `left` lists it as far as known, and `subagents` are the ids of the
        subagents in it, or None if unknown. `again`: the turn had ended before, and the agent was made to continue it.
        `reason` is "limit" if a limit of the account ended the turn; the limit resets at `resets_at`, if known.
    launched: in the turn `prompt` the agent has started the subagent with the id `task`, which works in the background.
    stopped: a key press has stopped all its subagents.
    asked: `question` is open. `held`: earlier questions stay open too.
    answered: the question with the id `text` is closed. An agent that asks one question at a time need not report this.
        The end of a turn and the prompt that begins one close the agent's own questions, but not its subagents'.
    alive: the program has started (or is known to be running). gone: it reports that it is ending, with `error`.
    revived: not a report but our own act, added by `Context.observe`: we restarted the program at that time, which
        ended whatever it was doing.
    """

    kind: Kind
    at: float
    text: str = ""
    prompt: str | None = None
    outcome: str = ""
    reply: str | None = None
    error: str | None = None
    background: int = 0
    question: Question | None = None
    held: bool = False
    reason: str | None = None
    resets_at: float | None = None
    subagents: tuple[str, ...] | None = None
    task: str | None = None
    again: bool = False
    left: tuple[Task, ...] = ()

    @property
    def result(self) -> dict[str, Any]:
        """The fields that an end and a turn share."""
        return {"reply": self.reply, "error": self.error, "reason": self.reason, "resets_at": self.resets_at}


class Probe(NamedTuple):
    """What can be observed of the agent now. Facts take precedence over it.

    Attributes:
        now: the time of the probe.
        running: True, False, or None if unknown.
        activity: "busy", "idle" or "waiting", as the agent reports it, or None if it does not.
        since: when `activity` last changed.
        detail: what the agent is waiting for, or why it exited, in its own words; if it is at rest, what ended a turn
            whose end it has not reported.
        question: an open question that no fact reports.
        background: the agent reports that it has work in the background.
        paused_until: when the limit that has stopped the agent resets; the agent will then go on by itself.
    """

    now: float
    running: bool | None
    activity: str | None = None
    since: float = 0.0
    detail: str | None = None
    question: Question | None = None
    background: bool = False
    paused_until: float | None = None


class Turn(NamedTuple):
    """One of our messages and its outcome.

    `state` is queued, working, waiting_for_input, completed, failed, interrupted or exited. Two turns with the same
    `ended` were closed by the same end: the agent took the second one while the first one was running. `prompt` is the
    agent's own id for the turn, once known. `reason` and `resets_at` come from the fact that ended it. `later` is the
    agent's reply after the commands that it left running have ended.
    """

    number: int
    state: str
    began: float
    ended: float | None = None
    reply: str | None = None
    error: str | None = None
    prompt: str | None = None
    reason: str | None = None
    resets_at: float | None = None
    later: str | None = None

    @property
    def open(self) -> bool:
        return self.ended is None and self.state in (QUEUED, WORKING, WAITING)


class State(NamedTuple):
    """The state of a session, and all its turns. See `turns.reduce`.

    `turn` is the number of our turn that is running, or ran last; None before the first. `questions` are the open ones,
    oldest first; `question` is the first of them. `last` is the turn that ended last; its number is 0 if it was not
    ours. `paused_until` is that of the probe. `delegated`: only its subagents are working, so a message would begin a
    turn at once. `left` lists the work that runs in the background, as far as known; `background` counts it.
    """

    status: str
    turns: tuple[Turn, ...]
    turn: int | None
    question: Question | None
    background: int
    error: str | None = None
    questions: tuple[Question, ...] = ()
    last: Turn | None = None
    paused_until: float | None = None
    delegated: bool = False
    left: tuple[Task, ...] = ()

    @property
    def queued(self) -> list[int]:
        """The numbers of our turns that are queued."""
        return [turn.number for turn in self.turns if turn.state == QUEUED]

    @property
    def running(self) -> list[int]:
        """The numbers of our turns that are open, without the queued ones."""
        return [turn.number for turn in self.turns if turn.open and turn.state != QUEUED]


class Entry(NamedTuple):
    """One piece of a conversation.

    Attributes:
        role: "user" (a person or dev-sessions), "assistant", or "tool" (everything else).
        text: what was written; for a tool its input or result, in readable form.
        at: its time.
        prompt: the agent's own id for the turn.
        kind: "message"; for an assistant also "thinking"; for a tool "call", "result", "notice" (from the agent's
            program itself) or "error" (the model did not answer).
        tool: the tool's name.
        call: the id that a call and its result share.
        given, result: the tool's whole input, and its whole result without the bytes of images.
        failed: the tool reported a failure.
        images: the number of images in it.
    """

    role: str
    text: str
    at: float
    prompt: str | None = None
    kind: str = "message"
    tool: str | None = None
    call: str | None = None
    given: Any = None
    result: Any = None
    failed: bool = False
    images: int = 0
