"""The values that the rooms hand to each other and that cross the wire as JSON. No input, no output, cheap to import.

Times are seconds since the epoch (`time.time`), as the file system and the agents stamp what they write.
"""

from __future__ import annotations

from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    Prompted = Literal["accepted", "joined", "returned", "started", "ended"]
    Kind = Prompted | Literal["launched", "stopped", "asked", "answered", "alive", "gone", "revived"]

# What `status` says of a session.
IDLE, WORKING, WAITING, EXITED = "idle", "working", "waiting_for_input", "exited"
# What else a turn can be, or `wait` can say.
QUEUED, COMPLETED, FAILED, INTERRUPTED = "queued", "completed", "failed", "interrupted"
# Why a turn failed, where that is worth a word of its own: the model's service refused it, for the account has reached
# a limit.
LIMIT = "limit"

STATUSES = (IDLE, WORKING, WAITING, EXITED)
PERMISSIONS = ("full", "edit", "ask", "plan")


class Message(NamedTuple):
    """An act: one message of ours to a session, as its folder tells it. Its number is our turn id.

    Attributes:
        number: 1, 2, 3, ... within the session.
        wire: the text that the agent is given; of a message that goes by file, the line that points to it.
        via: "terminal", "file" or "rpc".
        request_id: the same id again is the same message.
        created: when it was claimed.
        queued: it waits for a turn of its own.
        attempted: when it may first have reached the agent, or None.
        receipt: "started" or "accepted" once the agent was seen to have it, else None.
        unconfirmed: its sender gave up, was cut short, or has ended before there was a receipt.
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
    """One of the questions that are asked together.

    Attributes:
        text: what is asked.
        options: the choices by label; any other text is an answer too.
        details: what is said of each choice.
        multiple: several choices may be taken.
    """

    text: str
    options: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    multiple: bool = False

    def to_json(self) -> dict[str, Any]:
        padded = (*self.details, *("" for _ in self.options))
        options = [{"label": one, "description": told} for one, told in zip(self.options, padded, strict=False)]
        return {"text": self.text, "options": options, "multiple": self.multiple}


class Subagent(NamedTuple):
    """An agent that the session's own agent started, inside the same program.

    Attributes:
        id: the program's own id of it.
        type: what kind of agent it is, "general-purpose" for example.
        task: what it was started for, in a few words; empty if the program does not say.
    """

    id: str
    type: str
    task: str = ""


class Question(NamedTuple):
    """What a session waits for a person (or its parent) to answer.

    Attributes:
        id: stays the same while the question is open; letters, digits, `.`, `_` and `-` only.
        kind: "permission", "question", "plan" or "dialog".
        text: what is asked, in full.
        options: the choices by label, possibly none; of a permission or plan "allow", "deny" and possibly "always".
        since: when it was asked.
        parts: of kind "question": what is asked, one by one.
        agent: the subagent that asks; None if it is the session's own agent. A subagent's question stays open until
            a fact says that it was answered, whatever the agent says of itself meanwhile.
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
    """Which subagent asks a question (as JSON), in words that follow its kind; empty if none does."""
    agent = question.get("agent")  # an older host does not say
    if not agent:
        return ""
    return f" of its subagent {agent['type'] or agent['id']}" + (f": {agent['task']}" if agent["task"] else "")


def ways(id: str, question: Mapping[str, Any]) -> str:
    """The commands that answer a question (as JSON) of the session `id`.

    They name it: an answer to what was shown is then never taken for one to what is asked by now.
    """
    if question["kind"] == "dialog":
        return f"dev-sessions attach {id}, or dev-sessions respond {id} --key K"
    if question["kind"] == "question":
        said = "--choose 1.N --choose 2.N ..." if len(question["parts"]) > 1 else "--choose N, or --text T"
    elif question["options"]:
        said = ", or ".join(f"--{option['label']}" for option in question["options"])
    else:
        return f"dev-sessions attach {id}"
    return f"dev-sessions respond {id} --question {question['id']} {said}"


# What an agent leaves running when it ends a turn.
AGENT, COMMAND, SCHEDULE = "agent", "command", "schedule"


class Task(NamedTuple):
    """A piece of work that an agent left running: `kind` is "agent" (one of its own), "command" or "schedule" (a prompt
    that it will give itself at a set time); `text` is the command, or what describes it.
    """

    id: str
    kind: str
    text: str


class Fact(NamedTuple):
    """What the agent said, in words that all agents share.

    kind "accepted": it has taken the prompt `text`, as its turn `prompt`. With `held`, into a queue of its own. With
        `task`, it gave itself this prompt because the background task of that id has ended.
    kind "joined": the held prompt `text` has become part of the running turn.
    kind "returned": the held prompt `text` was taken back by a person, and will not run.
    kind "started": the held prompt `text` has become the turn `prompt`.
    kind "ended": the turn `prompt` has ended as `outcome` (completed, failed, interrupted) with `reply` or `error`;
        `background` counts all that it left running, `left` names it, as far as it is known; `subagents` are the ids
        of the subagents among that, None if it did not say. `again`: it had ended the same turn before, and something
        made it go on. `reason` is "limit" if a limit of the account ended it, which resets at `resets_at` (seconds
        since the epoch; None: it does not say).
    kind "launched": in the turn `prompt` it has started the subagent of the id `task`, which works in the background.
    kind "stopped": all its subagents were stopped by a key.
    kind "asked": `question` is open; with `held`, beside those asked before. kind "answered": the question of the id
        `text` is no more; an agent that asks one at a time need not say so, the probe does. The end of a turn, and a
        prompt that begins one, end the questions of the session's own agent, not those of its subagents.
    kind "alive": the agent's program is up (at its start, or again). kind "gone": it says that it ends, with `error`.
    kind "revived": no word of the agent's but an act of ours, put among the facts by `Context.observe`: from then on we
        started the program again, and whatever it had before it is cut.
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
    def told(self) -> dict[str, Any]:
        """Of an end, what it says about the turns that it ends."""
        return {"reply": self.reply, "error": self.error, "reason": self.reason, "resets_at": self.resets_at}


class Probe(NamedTuple):
    """What can be seen of the agent right now. It ranks below what the agent said.

    Attributes:
        now: when it was looked at.
        running: True, False, or None if that cannot be told.
        activity: the agent's own word for what it does: "busy", "idle", "waiting", or None if it does not tell.
        since: when `activity` last changed.
        detail: the agent's own word for what it waits for, or for why it is gone; of one at rest, what ended a turn
            whose end it has told nobody.
        question: the question that the probe found open, where no fact tells.
        background: it says that something it started goes on in the background.
        paused_until: a limit has stopped it, which resets then, and it will go on by itself.
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
    """One message of ours and what became of it.

    `state` is queued, working, waiting_for_input, completed, failed, interrupted or exited. Two turns with the same
    `ended` were closed by the same end: the agent had taken the second while the first was running. `prompt` is the
    agent's own id of the turn, once it is known. `reason` and `resets_at` are those of the fact that ended it. `later`
    is what the agent said when commands that it had left running had ended since.
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
    """What a session is doing, and all its turns. See `turns.reduce`.

    `turn` is the number of the turn of ours that runs (or, when none runs, ran last); None before the first.
    `questions` are all that are open, the oldest first; `question` is that one. `last` is the turn that ended last,
    whosoever's it was: its number is 0 if it was of no message of ours. `paused_until` is that of the probe.
    `delegated`: it is `working`, yet by its subagents alone: a message would begin a turn at once. `left` names what
    runs in the background, as far as it is known; `background` counts it.
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


class Entry(NamedTuple):
    """One piece of a conversation.

    Attributes:
        role: "user" (a person, or we), "assistant", or "tool" (whatever else stands in it).
        text: what was said; of a tool its input or result, as a person reads it.
        at: when.
        prompt: the agent's own id of the turn.
        kind: "message"; "thinking" of an assistant; of a tool "call", "result", "notice" (what the agent's program
            itself put into the conversation) or "error" (it could not get an answer from the model).
        tool: the tool's name. `call` is the id that a call and its result share.
        given: the input of a tool, whole. `result` is what it returned, whole but for the bytes of images.
        failed: the tool said that it failed.
        images: how many images belong to it.
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
