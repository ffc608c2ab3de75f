"""What a person or tmux does around a session: it goes on, or says at once what to do."""

from __future__ import annotations

from lab import Lab


def test_a_mode_that_a_person_has_left_open(shared: Lab, talker: str) -> None:
    for mode in ("clock-mode", "copy-mode", "choose-tree", "customize-mode"):
        shared.tmux(mode, "-t", f"=dev-{talker}:")
        assert shared.ok("ask", talker, f"[[reply: {mode} is left]]") == f"{mode} is left"
    shared.ok("send", talker, "[[bash: sleep 300]]")
    shared.tmux("clock-mode", "-t", f"=dev-{talker}:")
    shared.ok("send", talker, "[[reply: queued]]", "--queue")
    shared.tmux("clock-mode", "-t", f"=dev-{talker}:")
    shared.ok("interrupt", talker)
    assert shared.run("wait", talker).code in (0, 5)
    shared.until(lambda: shared.run("last-message", talker).out == "queued\n", "the queued one is answered")
