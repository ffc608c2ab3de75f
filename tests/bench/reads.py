"""The frequent reads, on sessions written to the disk: `--version`, `list`, `status`, `last-message`, and our hooks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

from figures import Figure, milliseconds, ratio
from folders import REPLY
from measuring import Commands, Spread, in_turns, took
from place import Place

from dev_sessions.backends.claude import hooks

_BIG = 500 * 2**20


def version(place: Place) -> Iterator[Figure]:
    with place.state() as state:
        commands = Commands(state.env)
        commands.checked("--version", says="dev-sessions ")
        found = in_turns(place.rounds, floor=commands.floor, it=lambda: commands.once("--version"))
    yield ratio(
        "version", "`--version`", 3.0, found["it"], found["floor"], ancestor="170 ms, 11 to 12 times `python -c pass`"
    )


def list_20(place: Place) -> Iterator[Figure]:
    with place.state() as state:
        state.add(20, turns=3)
        commands = Commands(state.env)
        assert len(json.loads(commands.checked("list", "--json"))) == 20
        found = in_turns(place.rounds, floor=commands.floor, it=lambda: commands.once("list"))
    yield ratio("list-20", "`list` of 20", 3.0, found["it"], found["floor"], ancestor="512 ms for 50")


def list_500(place: Place) -> Iterator[Figure]:
    with place.state() as state:
        count = place.size(500, 10)
        state.add(count, turns=3)
        commands = Commands(state.env)
        assert commands.checked("list", "--json").count('"idle"') == count
        found = in_turns(place.fewer, floor=commands.floor, it=lambda: commands.once("list"))
        held = commands.memory("list")
    note = f"{found['it'].median / found['floor'].median:.1f} times `python -c pass`; {held:.0f} MB"
    yield milliseconds("list-500", "`list` of 500 live", 250.0, found["it"], ancestor="5.5 s", note=note)


def status(place: Place) -> Iterator[Figure]:
    with place.state() as state:
        state.add(20, turns=3)
        id = state.sessions[7].id
        commands = Commands(state.env)
        commands.checked("status", id, says="idle")
        found = in_turns(place.rounds, floor=commands.floor, it=lambda: commands.once("status", id))
    yield ratio("status", "`status`", 3.5, found["it"], found["floor"], ancestor="183 ms, 11 to 12 times")


def last_message(place: Place) -> Iterator[Figure]:
    with place.state() as state:
        small, big = state.add(1, turns=3)[0], state.add(1, turns=3, padding=place.size(_BIG, 2**20))[0]
        commands = Commands(state.env)
        for session in (small, big):
            commands.checked("last-message", session.id, says=REPLY)
        found = in_turns(
            place.rounds,
            floor=commands.floor,
            small=lambda: commands.once("last-message", small.id),
            big=lambda: commands.once("last-message", big.id),
        )
        held = commands.memory("last-message", big.id)
    yield ratio("last-message", "`last-message`, small transcript", 3.0, found["small"], found["floor"])
    yield ratio(
        "last-message-500mb",
        "`last-message`, transcript of 500 MB",
        3.0,
        found["big"],
        found["floor"],
        ancestor="8.6 s and 1.3 GB for 300 MB",
        note=f"{held:.0f} MB",
    )


def hook(place: Place) -> Iterator[Figure]:
    """One hook, as Claude runs it: its line of `sh`, with a payload on its standard input."""
    with place.state() as state:
        session = state.add(1, turns=1)[0]
        facts = session.folder / "facts"
        payload = next(facts.glob("*.json"))
        given = str(shutil.copy(payload, session.folder / "payload.json"))
        line = hooks.settings(str(facts), str(session.folder / "questions"))["Stop"][0]["hooks"][0]["command"]
        before = len(list(facts.glob("*.json")))
        found = in_turns(
            place.rounds,
            empty=lambda: took(["/bin/sh", "-c", ":"], state.env, given),
            it=lambda: took(["/bin/sh", "-c", line], state.env, given),
        )
        assert len(list(facts.glob("*.json"))) == before + place.rounds + place.first
    yield milliseconds("hook", "one hook of ours, in the agent's turn", 10.0, found["it"], note=_beyond(found))


def _beyond(found: dict[str, Spread]) -> str:
    return f"an empty `sh -c :` takes {found['empty'].median * 1e3:.1f} ms"
