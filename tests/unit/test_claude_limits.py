"""What Claude Code's reports and transcript tell about a limit: when it resets, and whether the turn goes on.

The transcript's entries are as 2.1.332 writes them; what it wrote of a whole turn is in `tests/data`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from dev_sessions.backends.claude import hooks, limits
from dev_sessions.model import Fact, Probe
from dev_sessions.state.folder import Payload

DATA = Path(__file__).parents[1] / "data" / "claude-2.1.330"
RESET = 5000.0
PROMPT = Fact("accepted", 100.0, text="go", prompt="p1")
END = Fact("ended", 101.0, prompt="p1", outcome="failed", error="used up", reason="limit")
TIMED = END._replace(resets_at=RESET)
ON = Fact("accepted", 5040.0, text="Your limit has reset.", prompt="p2")
DONE = Fact("ended", 5041.0, prompt="p2", outcome="completed", reply="done")


def entry(at: float, **fields: object) -> dict[str, object]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{round(at % 1 * 1000):03d}Z"
    return {"timestamp": stamp, **fields}


def error(at: float, resets_at: float | None = RESET) -> dict[str, object]:
    limited = {} if resets_at is None else {"quotaLimits": {"status": "rejected", "resetsAt": resets_at}}
    return entry(at, type="assistant", isApiErrorMessage=True, error="rate_limit", **limited)


def notice(at: float) -> dict[str, object]:
    return entry(at, type="system", subtype="informational", content="whatever it says")


def user(at: float, prompt: str, origin: str) -> dict[str, object]:
    message = {"role": "user", "content": "text"}
    return entry(at, type="user", promptId=prompt, origin={"kind": origin}, message=message)


class Session:
    """A transcript, and what it makes of facts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def told(
        self, facts: list[Fact], entries: list[dict[str, object]], probe: Probe, continues: bool = True
    ) -> tuple[list[Fact], Probe]:
        self.path.write_text("".join(json.dumps(one) + "\n" for one in entries))
        return limits.applied(facts, probe, str(self.path), continues)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path / "t.jsonl")


def idle(now: float, since: float = 101.0) -> Probe:
    return Probe(now, True, "idle", since)


def test_recorded_reports_and_their_transcript() -> None:
    found = []
    for one in json.loads((DATA / "hooks" / "limit.json").read_text()):
        payload = Payload("f.json", one["at"], json.dumps(one["payload"]).encode())
        fact = hooks.fact(payload, hooks.parse(payload))
        found += [fact] if fact else []
    probe = idle(found[-1].at + 10)
    told, same = limits.applied(found, probe, str(DATA / "transcripts" / "limit.jsonl"), False)
    ended = [(fact.outcome, fact.reason, fact.resets_at) for fact in told if fact.kind == "ended"]
    assert ended == [("failed", "limit", 1795900000), ("completed", None, None)]
    assert same is probe


@pytest.mark.parametrize("error_kind", ["rate_limit", "overloaded", "billing_error", "unknown"])
def test_only_one_kind_of_error_is_a_limit(error_kind: str) -> None:
    assert hooks.reason({"error": error_kind}) == ("limit" if error_kind == "rate_limit" else None)


def test_without_a_limit_nothing_is_read(tmp_path: Path) -> None:
    facts, probe = [PROMPT], idle(102.0)
    assert limits.applied(facts, probe, str(tmp_path / "missing"), True) == (facts, probe)
    assert limits.applied([PROMPT, END], probe, None, False) == ([PROMPT, END], probe)


def test_each_end_has_the_reset_of_its_own_error(session: Session) -> None:
    again = [Fact("accepted", 110.0, text="b", prompt="p2"), END._replace(at=111.0, prompt="p2")]
    entries = [error(100.9), error(110.9, 6000.0)]
    told, _ = session.told([PROMPT, END, *again], entries, idle(120.0), False)
    assert [fact.resets_at for fact in told if fact.kind == "ended"] == [RESET, 6000]


@pytest.mark.parametrize("continues", [False, True])
def test_the_end_waits_for_what_the_transcript_says(session: Session, continues: bool) -> None:
    facts, probe = session.told([PROMPT, END], [], idle(101.5), continues)
    assert (facts, probe.activity, probe.paused_until) == ([PROMPT], "busy", None)
    # It never comes: the end alone is what is known.
    assert session.told([PROMPT, END], [], idle(104.0), continues) == ([PROMPT, END], idle(104.0))


@pytest.mark.parametrize("said", [error(100.9, None), error(100.9)])
def test_the_end_counts_as_soon_as_its_error_is_written(session: Session, said: dict[str, object]) -> None:
    reset = RESET if "quotaLimits" in said else None
    assert session.told([PROMPT, END], [said], idle(101.2), False) == (
        [PROMPT, END._replace(resets_at=reset)],
        idle(101.2),
    )


def test_an_agent_that_will_go_on_has_not_ended_its_turn(session: Session) -> None:
    for now in (101.2, 3000.0, 5200.0):
        facts, probe = session.told([PROMPT, END], [error(100.9), notice(101.0)], idle(now))
        assert (facts, probe.activity, probe.paused_until) == ([PROMPT], "busy", RESET)


@pytest.mark.parametrize(
    ("entries", "probe"),
    [
        ([error(100.9)], idle(103.0)),  # it has not set itself to go on
        ([error(100.9), notice(101.0), notice(110.0)], idle(112.0)),  # a person has cancelled it
        ([error(100.9, None), notice(101.0)], idle(103.0)),  # it does not say when
        ([error(100.9), notice(101.0)], idle(RESET + 700)),  # and has not gone on after all
        ([error(100.9), notice(101.0)], Probe(200.0, True, "waiting", 102.0)),  # a menu is open
        ([error(100.9), notice(101.0)], Probe(200.0, False)),
    ],
)
def test_an_agent_that_stops_has_ended_its_turn(
    session: Session, entries: list[dict[str, object]], probe: Probe
) -> None:
    facts, after = session.told([PROMPT, END], entries, probe)
    assert [fact.kind for fact in facts] == ["accepted", "ended"]
    assert after == probe


def test_the_turn_goes_on_from_the_reset_to_its_end(session: Session) -> None:
    entries = [error(100.9), notice(101.0)]
    # Its prompt is in its queue, then it works, then it reports the prompt, then the transcript says whose that is.
    queued = [*entries, entry(5039.8, type="queue-operation", operation="enqueue", content="x"), notice(5039.9)]
    facts, probe = session.told([PROMPT, END], queued, idle(5039.9))
    assert (facts, probe.activity) == ([PROMPT], "busy")
    busy = Probe(5040.0, True, "busy", 5039.95)
    assert session.told([PROMPT, END], queued, busy)[0] == [PROMPT]
    assert session.told([PROMPT, END, ON], queued, busy)[0] == [PROMPT]
    said = [*queued, user(5040.1, "p2", "auto-continuation")]
    assert session.told([PROMPT, END, ON], said, Probe(5060.0, True, "busy", 5039.95))[0] == [PROMPT]
    assert session.told([PROMPT, END, ON, DONE], said, idle(5060.0, 5041.0)) == ([PROMPT, DONE], idle(5060.0, 5041.0))


def test_any_other_prompt_ends_the_wait(session: Session) -> None:
    other = Fact("accepted", 200.0, text="b", prompt="p2")
    entries = [error(100.9), notice(101.0), user(200.1, "p2", "human")]
    facts, _ = session.told([PROMPT, END, other], entries, Probe(201.0, True, "busy", 200.0))
    assert facts == [PROMPT, TIMED, other]


def test_it_goes_on_three_times_at_most(session: Session) -> None:
    facts, entries = [PROMPT, END], [error(100.9), notice(101.0)]
    for n in (1, 2, 3):
        at = 100.0 + 50 * n
        # At the same limit again no notice says that it will try again.
        facts += [ON._replace(at=at, prompt=f"q{n}"), END._replace(at=at + 1, prompt=f"q{n}")]
        entries += [user(at, f"q{n}", "auto-continuation"), error(at + 0.9)]
        told, probe = session.told(facts, entries, idle(at + 10, at + 1))
        assert ([fact.kind for fact in told], probe.paused_until) == (
            (["accepted"], RESET) if n < 3 else (["accepted", "ended"], None)
        )
    cancelled = session.told(facts[:4], [*entries[:4], notice(155.0)], idle(160.0, 151.0))
    assert [fact.kind for fact in cancelled[0]] == ["accepted", "ended"]
