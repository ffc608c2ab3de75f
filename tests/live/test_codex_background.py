"""Commands that a Codex session left running, with the real program: counted, waited for on demand, ended with it."""

from __future__ import annotations

import json
import os

from codex_lab import CodexLab


def status(lab: CodexLab, id: str) -> tuple[str, int]:
    told = json.loads(lab.ok("status", id, "--json"))
    return told["status"], told["background"]


def test_it_is_counted_and_waited_for_on_demand(codex_lab: CodexLab) -> None:
    id, gate = codex_lab.create(), codex_lab.project / "gate"
    os.mkfifo(gate)
    assert codex_lab.ok("ask", id, f"[[bash_bg: cat {gate}]][[reply: left it]]") == "left it"
    assert status(codex_lab, id) == ("idle", 1)
    assert codex_lab.ok("wait", id) == "completed"
    timed_out = codex_lab.run("wait", id, "--settled", "--timeout", "1")
    assert timed_out.code == 124
    wait = codex_lab.start("wait", id, "--settled")
    gate.write_text("over")
    done = codex_lab.finish(wait)
    assert (done.code, done.out) == (0, "completed\n")
    assert status(codex_lab, id) == ("idle", 0)


def test_it_is_over_when_its_server_has_died(codex_lab: CodexLab) -> None:
    id, gate = codex_lab.create(), codex_lab.project / "gate"
    os.mkfifo(gate)
    codex_lab.ok("ask", id, f"[[bash_bg: cat {gate}]][[reply: left it]]")
    (note,) = codex_lab.state.glob("codex/*/daemon.json")
    os.kill(json.loads(note.read_text())["pid"], 9)
    codex_lab.until(lambda: status(codex_lab, id) == ("idle", 0), "nobody holds the thread")
    assert codex_lab.ok("ask", id, "[[reply: again]]") == "again"
    assert status(codex_lab, id) == ("idle", 0)  # as the new server reports; the rollout has no end of it
    assert codex_lab.ok("wait", id, "--settled") == "completed"
