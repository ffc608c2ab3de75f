"""Calls that mypy has to refuse. `make types` fails if it accepts one: its `type: ignore` is unused then."""

from __future__ import annotations

from dev_sessions.client import Client
from dev_sessions.recipes import briefing
from dev_sessions.recipes.plan import Branch


def wrong(client: Client) -> None:
    client.create(permisions="plan")  # type: ignore[call-arg]
    client.create(env=["A=b"])  # type: ignore[arg-type]
    briefing.create(client, briefing.Briefing("hi"), None, permisions="plan")  # type: ignore[call-arg]
    Branch("one", briefing.Briefing("hi"), {"permisions": "plan"})  # type: ignore[typeddict-unknown-key]
    client.send("fizz-top")  # type: ignore[call-arg]
    client.send("fizz-top", "hi", queued=True)  # type: ignore[call-arg]
    client.ask("fizz-top", "hi", timeout="60")  # type: ignore[arg-type]
    client.wait(["fizz-top"], next_turns=True)  # type: ignore[call-arg]
    client.last_message("fizz-top", n=2)  # type: ignore[call-arg]
    client.status()  # type: ignore[call-arg]
    client.list(state="idle")  # type: ignore[call-arg]
    client.goal("fizz-top", action="pause")  # type: ignore[call-arg]
    client.interrupt(["fizz-top"])  # type: ignore[arg-type]
    client.revive(every=True)  # type: ignore[call-arg]
    client.pending(session="fizz-top")  # type: ignore[call-arg]
    client.respond("fizz-top", allowed=True)  # type: ignore[call-arg]
    client.logs("fizz-top", follows=True)  # type: ignore[call-arg]
    client.events(group="g")  # type: ignore[call-arg]
    client.kill(all=True, older_then="1h")  # type: ignore[call-arg]
    client.kill(older_than=72)  # type: ignore[arg-type]
