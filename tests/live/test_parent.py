"""An agent that leads another one, by the commands that it runs itself."""

from __future__ import annotations

from lab import Lab


def test_a_parent_creates_answers_collects_and_kills(lab: Lab) -> None:
    parent = lab.create()
    task = lab.path / "task.md"
    task.write_text("[[bash: touch asked]][[reply: The child has made it.]]")
    script = f"""set -u
child=$(dev-sessions create -q --permissions ask --description child)
dev-sessions send $child --file {task}
dev-sessions wait $child --timeout 60; echo "first wait: $?"
dev-sessions pending --json
dev-sessions respond $child --allow
dev-sessions wait $child --timeout 60; echo "second wait: $?"
dev-sessions last-message $child
dev-sessions kill $child
"""
    path = lab.path / "lead.sh"
    path.write_text(script)
    lab.ok("ask", parent, f"[[bash: sh {path} 2>&1]][[replytool]]")
    told = lab.ok("last-message", parent)
    assert "waiting_for_input" in told
    assert "first wait: 6" in told
    assert "Bash: touch asked" in told
    assert "answered (permission)" in told
    assert "second wait: 0" in told
    assert "The child has made it." in told
    assert "Killed session" in told
    assert (lab.project / "asked").exists()
    assert [parent] == [row["id"] for row in lab.run("list", "--json").json]
