"""An agent that leads another one, with commands that it runs itself."""

from __future__ import annotations

from lab import Lab


def test_a_parent_creates_answers_and_collects_and_its_child_outlives_it(lab: Lab) -> None:
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
    assert (lab.project / "asked").exists()
    rows = {row["id"]: row for row in lab.run("list", "--json").json}
    (child,) = rows.keys() - {parent}
    assert (rows[child]["parent"], rows[child]["depth"]) == (parent, 2)
    lab.ok("kill", parent)
    assert lab.ok("ask", child, "[[reply: Still here.]]") == "Still here."
    lab.ok("kill", child)
    assert lab.processes() == []
