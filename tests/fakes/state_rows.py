"""The state table: what `status` and `wait` say in every situation that a session can be in.

One row is one situation. `tests/live/test_states.py` brings a real session into it and checks every word;
`scripts/states.py` makes `docs/states.md` of it. No input, no output.
"""

from __future__ import annotations

from typing import NamedTuple

CODES = {"completed": 0, "idle": 0, "failed": 5, "interrupted": 5, "exited": 5, "waiting_for_input": 6}

TURNS = "Turns of ours"
PERSON = "A person at the terminal"
FAILURES = "The model's service fails"
DEATH = "The agent dies"
OWN_WORK = "Work of the agent's own"
NO_HOOKS = "Hooks switched off by the user's settings"


class Row(NamedTuple):
    """One situation.

    Attributes:
        name: what the row is called in tests and in the page.
        part: the part of the page that it stands in.
        situation: what the session is in the middle of, as part of a sentence.
        end: how that ends, as part of a sentence.
        before, during, after: what `status` says before it, in the middle of it, and once it has ended.
        wait: the word of a `wait` that was started before or during the situation.
        later: the word of a `wait` that is started after its end.
        blocks: `wait` goes on during the situation; otherwise it answers at once.
        turns: the number and the final outcome of each turn that `wait` speaks of.
        reply: the reply of those turns, by turn number.
        error: a piece of the `error` in the JSON of `wait`.
        question: the kind of the question that is open during the situation.
        background: how many pieces of background work `status` counts during the situation.
        permissions: what the session was created with.
        hooks: the user's own settings let hooks run.
        limit: it is a limit of the account that ends it: `reason` and `resets_at` say so.
        login: Claude has logged in with a subscription, instead of an API key.
        options: what the session was created with besides.
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
        """The exit code that goes with the word of `wait`."""
        return CODES[self.wait]

    @property
    def later_code(self) -> int:
        """The exit code of a `wait` after the end."""
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
    """A situation in which a turn of ours runs: `working`, and `wait` goes on to its end."""
    turns = turns or ((1, outcome),)
    return Row(
        name, part, situation, end, before, "working", after, outcome, outcome, turns=turns, reply=reply, error=error
    )


_THINKING = _turn("thinking", "the model thinks, nothing has come yet", "it answers", "completed", reply=((1, "done"),))
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
    "the model thinks, nothing has come yet",
    "a person presses Esc",
    "interrupted",
    PERSON,
    error="interrupted",
)
_ESC_AFTER = _turn(
    "Esc after some output",
    "the model has said a part of its answer",
    "a person presses Esc",
    "interrupted",
    PERSON,
    error="interrupted",
)
_ESC_TOOL = _turn("Esc in a tool", "a tool runs", "a person presses Esc", "interrupted", PERSON, error="interrupted")
_FAILS = _turn(
    "the API fails at once",
    "the model thinks, nothing has come yet",
    "the API answers with an error that a retry cannot mend (400)",
    "failed",
    FAILURES,
    error="scripted error 400",
)
_LIMIT = _turn(
    "a usage limit",
    "the model thinks, nothing has come yet",
    "the account's usage limit is reached (429), and resets in an hour",
    "failed",
    FAILURES,
    error="limit",
)._replace(limit=True, login=True)
_JOINED = _turn(
    "accepted while a tool runs",
    "a tool runs, and two more messages are accepted",
    "they join the running turn: one end, and one reply, for all three",
    "completed",
    turns=((1, "completed"), (2, "completed"), (3, "completed")),
    reply=((1, "three"), (2, "three"), (3, "three")),
)
_FOLLOWING = _turn(
    "accepted while no tool runs",
    "the model thinks, and two more messages are accepted",
    "the first turn ends with a reply of its own; the other two follow it, and Claude Code answers both at once",
    "completed",
    turns=((1, "completed"), (2, "completed"), (3, "completed")),
    reply=((1, "one"), (2, "three"), (3, "three")),
)

ROWS: tuple[Row, ...] = (
    Row(
        "nothing ever sent",
        TURNS,
        "the agent is ready, and no message was ever sent",
        "it goes on so",
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
        "the last turn has ended, and nothing runs",
        "it goes on so",
        "working",
        "idle",
        "idle",
        "completed",
        "completed",
        blocks=False,
        reply=((1, "done"),),
    ),
    _THINKING,
    _turn("a tool runs for minutes", "a tool runs", "the tool ends", "completed", reply=((1, "done"),)),
    _QUESTION,
    Row(
        "a permission prompt open",
        TURNS,
        "the agent asks whether it may run a command (`--permissions ask`)",
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
        "the model thinks, nothing has come yet",
        "`dev-sessions interrupt`",
        "interrupted",
        error="interrupted",
    ),
    _turn(
        "interrupted by us in a tool",
        "a tool runs",
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
        "a person has typed a prompt, and the agent works on it",
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
        "a person has typed a prompt, the agent works on it, and no message of ours was ever sent",
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
        "the API is overloaded (529), and Claude Code tries again and again",
        "the API refuses more requests of this key (429), and Claude Code gives up; it does not say when that ends",
        "failed",
        FAILURES,
        error="429",
    )._replace(limit=True),
    _LIMIT,
    _turn(
        "a usage limit, to go on at its reset",
        "the usage limit is reached, and Claude waits for it to reset (`create --continue-at-reset`)",
        "it resets, and Claude goes on by itself",
        "completed",
        FAILURES,
        reply=((1, "went on"),),
    )._replace(login=True, options=("--continue-at-reset",)),
    _turn(
        "a usage limit, to go on at its reset, interrupted",
        "the usage limit is reached, and Claude waits for it to reset (`create --continue-at-reset`)",
        "`dev-sessions interrupt`, or a person's Esc",
        "failed",
        FAILURES,
        error="limit",
    )._replace(limit=True, login=True, options=("--continue-at-reset",)),
    _turn(
        "killed at work",
        "the model thinks, nothing has come yet",
        "claude is killed with signal 9",
        "exited",
        DEATH,
        after="exited",
        error="gone",
    ),
    Row(
        "killed when idle",
        DEATH,
        "claude was killed with signal 9 after its last turn had ended",
        "it goes on so",
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
        "claude was killed with signal 9, and no message was ever sent",
        "it goes on so",
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
        "the model thinks, nothing has come yet",
        "its tmux session is killed",
        "exited",
        DEATH,
        after="exited",
        error="ended",
    ),
    _turn(
        "the tmux server killed",
        "the model thinks, nothing has come yet",
        "the tmux server is killed",
        "exited",
        DEATH,
        after="exited",
        error="ended",
    ),
    Row(
        "background work",
        OWN_WORK,
        "the turn has ended, and a command that it started goes on in the background",
        "the command ends, and the agent wakes itself to look at it",
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
        "the agent itself has stopped, and a subagent that it started works in the background",
        "the subagent reports, and the agent goes on with the same turn",
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
        "a subagent asks whether it may run a command (`--permissions ask`), which no dialog shows while the agent "
        "itself works on",
        "it is allowed with `dev-sessions respond`, and the agent ends its turn",
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
