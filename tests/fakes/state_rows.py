"""The state table: what `status` and `wait` print in every situation that a session can be in.

One row is one situation. `tests/live/test_states.py` puts a real session into it and checks every word;
`scripts/states.py` generates `docs/states.md` from it. No input, no output.
"""

from __future__ import annotations

from typing import NamedTuple

CODES = {"completed": 0, "idle": 0, "failed": 5, "interrupted": 5, "exited": 5, "waiting_for_input": 6}

TURNS = "Turns that dev-sessions started"
PERSON = "A person at the terminal"
FAILURES = "The model API fails"
DEATH = "The agent dies"
OWN_WORK = "Background work and subagents"
NO_HOOKS = "Hooks disabled in the user's settings"


class Row(NamedTuple):
    """One situation.

    Attributes:
        name: the row's name in tests and on the page.
        part: the section of the page.
        situation: what is happening in the session, as part of a sentence.
        end: how the situation ends, as part of a sentence.
        before, during, after: what `status` prints before, during and after the situation.
        wait: the word that a `wait` prints that was started before or during the situation.
        later: the word that a `wait` prints that was started after its end.
        blocks: `wait` waits during the situation; otherwise it returns at once.
        turns: the number and the final outcome of each turn that `wait` covers.
        reply: the reply of those turns, by turn number.
        error: part of the `error` in the JSON of `wait`.
        question: the kind of question that is open during the situation.
        background: how many pieces of background work `status` counts during the situation.
        permissions: the session's permissions.
        hooks: whether the user's settings allow hooks.
        limit: an account limit ends the situation: `reason` and `resets_at` say so.
        login: whether Claude is logged in with a subscription, rather than using an API key.
        options: further options of `create`.
    """

    name: str
    part: str
    situation: str
    end: str
    before: str
    during: str
    after: str
    wait: str
    later: str
    blocks: bool = True
    turns: tuple[tuple[int, str], ...] = ((1, "completed"),)
    reply: tuple[tuple[int, str], ...] = ()
    error: str = ""
    question: str = ""
    background: int = 0
    permissions: str = "full"
    hooks: bool = True
    limit: bool = False
    login: bool = False
    options: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code for the word that `wait` prints."""
        return CODES[self.wait]

    @property
    def later_code(self) -> int:
        """The exit code of a `wait` that was started after the end."""
        return CODES[self.later]


def _turn(
    name: str,
    situation: str,
    end: str,
    outcome: str,
    part: str = TURNS,
    before: str = "idle",
    after: str = "idle",
    error: str = "",
    turns: tuple[tuple[int, str], ...] = (),
    reply: tuple[tuple[int, str], ...] = (),
) -> Row:
    """A situation in which a turn that dev-sessions started is running: `working`, and `wait` waits for its end."""
    turns = turns or ((1, outcome),)
    return Row(
        name, part, situation, end, before, "working", after, outcome, outcome, turns=turns, reply=reply, error=error
    )


_THINKING = _turn(
    "thinking", "the model is thinking, with no output yet", "the model answers", "completed", reply=((1, "done"),)
)
_QUESTION = Row(
    "a question open",
    TURNS,
    "the agent asks a question",
    "a person answers it in the terminal",
    "working",
    "waiting_for_input",
    "idle",
    "waiting_for_input",
    "completed",
    blocks=False,
    reply=((1, "thanks"),),
    question="question",
)
_ESC_BEFORE = _turn(
    "Esc before any output",
    "the model is thinking, with no output yet",
    "a person presses Esc",
    "interrupted",
    PERSON,
    error="interrupted",
)
_ESC_AFTER = _turn(
    "Esc after some output",
    "the model has produced part of its answer",
    "a person presses Esc",
    "interrupted",
    PERSON,
    error="interrupted",
)
_ESC_TOOL = _turn(
    "Esc in a tool", "a tool is running", "a person presses Esc", "interrupted", PERSON, error="interrupted"
)
_FAILS = _turn(
    "the API fails at once",
    "the model is thinking, with no output yet",
    "the API returns an error that a retry cannot fix (400)",
    "failed",
    FAILURES,
    error="scripted error 400",
)
_LIMIT = _turn(
    "a usage limit",
    "the model is thinking, with no output yet",
    "the account reaches its usage limit (429), which resets in an hour",
    "failed",
    FAILURES,
    error="limit",
)._replace(limit=True, login=True)
_JOINED = _turn(
    "accepted while a tool runs",
    "a tool is running, and two more messages are accepted",
    "they join the running turn: one end and one reply for all three",
    "completed",
    turns=((1, "completed"), (2, "completed"), (3, "completed")),
    reply=((1, "three"), (2, "three"), (3, "three")),
)
_FOLLOWING = _turn(
    "accepted while no tool runs",
    "the model is thinking, and two more messages are accepted",
    "the first turn ends with its own reply; then Claude Code answers the other two together",
    "completed",
    turns=((1, "completed"), (2, "completed"), (3, "completed")),
    reply=((1, "one"), (2, "three"), (3, "three")),
)

ROWS: tuple[Row, ...] = (
    Row(
        "nothing ever sent",
        TURNS,
        "the agent is ready, and no message was ever sent",
        "nothing changes",
        "idle",
        "idle",
        "idle",
        "idle",
        "idle",
        blocks=False,
        turns=(),
    ),
    Row(
        "idle",
        TURNS,
        "the last turn has ended, and nothing is running",
        "nothing changes",
        "working",
        "idle",
        "idle",
        "completed",
        "completed",
        blocks=False,
        reply=((1, "done"),),
    ),
    _THINKING,
    _turn("a tool runs for minutes", "a tool is running", "the tool ends", "completed", reply=((1, "done"),)),
    _QUESTION,
    Row(
        "a permission prompt open",
        TURNS,
        "the agent asks for permission to run a command (`--permissions ask`)",
        "a person allows it in the terminal",
        "working",
        "waiting_for_input",
        "idle",
        "waiting_for_input",
        "completed",
        blocks=False,
        reply=((1, "done"),),
        question="permission",
        permissions="ask",
    ),
    _turn(
        "interrupted by us",
        "the model is thinking, with no output yet",
        "`dev-sessions interrupt`",
        "interrupted",
        error="interrupted",
    ),
    _turn(
        "interrupted by us in a tool",
        "a tool is running",
        "`dev-sessions interrupt`",
        "interrupted",
        error="interrupted",
    ),
    _JOINED,
    _FOLLOWING,
    _ESC_BEFORE,
    _ESC_AFTER,
    _ESC_TOOL,
    Row(
        "a person's own prompt",
        PERSON,
        "a person has typed a prompt, and the agent is working on it",
        "that turn ends",
        "idle",
        "working",
        "idle",
        "completed",
        "completed",
        blocks=False,
        reply=((1, "ours"),),
    ),
    Row(
        "a person's own prompt, nothing ever sent",
        PERSON,
        "a person has typed a prompt, the agent is working on it, and dev-sessions never sent a message",
        "that turn ends",
        "idle",
        "working",
        "idle",
        "idle",
        "idle",
        blocks=False,
        turns=(),
    ),
    _FAILS,
    _turn(
        "the API fails after retries",
        "the API is overloaded (529), and Claude Code keeps retrying",
        "the API rejects further requests for this key (429) without a reset time, and Claude Code gives up",
        "failed",
        FAILURES,
        error="429",
    )._replace(limit=True),
    _LIMIT,
    _turn(
        "a usage limit, to go on at its reset",
        "the account has reached its usage limit, and Claude waits for the reset (`create --continue-at-reset`)",
        "the limit resets, and Claude continues by itself",
        "completed",
        FAILURES,
        reply=((1, "went on"),),
    )._replace(login=True, options=("--continue-at-reset",)),
    _turn(
        "a usage limit, to go on at its reset, interrupted",
        "the account has reached its usage limit, and Claude waits for the reset (`create --continue-at-reset`)",
        "`dev-sessions interrupt`, or a person presses Esc",
        "failed",
        FAILURES,
        error="limit",
    )._replace(limit=True, login=True, options=("--continue-at-reset",)),
    _turn(
        "killed at work",
        "the model is thinking, with no output yet",
        "claude is killed with SIGKILL",
        "exited",
        DEATH,
        after="exited",
        error="gone",
    ),
    Row(
        "killed when idle",
        DEATH,
        "claude was killed with SIGKILL after its last turn had ended",
        "nothing changes",
        "idle",
        "exited",
        "exited",
        "completed",
        "completed",
        blocks=False,
        reply=((1, "done"),),
    ),
    Row(
        "killed, nothing ever sent",
        DEATH,
        "claude was killed with SIGKILL, and no message was ever sent",
        "nothing changes",
        "idle",
        "exited",
        "exited",
        "exited",
        "exited",
        blocks=False,
        turns=(),
        error="gone",
    ),
    _turn(
        "its tmux session killed",
        "the model is thinking, with no output yet",
        "its tmux session is killed",
        "exited",
        DEATH,
        after="exited",
        error="ended",
    ),
    _turn(
        "the tmux server killed",
        "the model is thinking, with no output yet",
        "the tmux server is killed",
        "exited",
        DEATH,
        after="exited",
        error="ended",
    ),
    Row(
        "background work",
        OWN_WORK,
        "the turn has ended, and a command that it started is still running in the background",
        "the command ends, and the agent wakes up to check the result",
        "working",
        "idle",
        "idle",
        "completed",
        "completed",
        blocks=False,
        reply=((1, "started it"),),
        background=1,
    ),
    Row(
        "subagents at work",
        OWN_WORK,
        "the agent itself has finished, and a subagent that it started is still working",
        "the subagent reports, and the agent continues the same turn",
        "working",
        "working",
        "idle",
        "completed",
        "completed",
        reply=((1, "it is found"),),
        background=1,
    ),
    Row(
        "a subagent's question open",
        OWN_WORK,
        "a subagent asks for permission to run a command (`--permissions ask`), and no dialog shows it because the "
        "agent itself is working",
        "`dev-sessions respond` allows it, and the agent ends its turn",
        "working",
        "waiting_for_input",
        "idle",
        "waiting_for_input",
        "completed",
        blocks=False,
        reply=((1, "done"),),
        question="permission",
        permissions="ask",
    ),
    *(
        row._replace(name=f"no hooks: {row.name}", part=NO_HOOKS, hooks=False)
        for row in (_THINKING, _QUESTION, _ESC_BEFORE, _ESC_AFTER, _LIMIT, _JOINED, _FOLLOWING)
    ),
)
