"""Short stories of the real Claude Code, recorded: the reports of its hooks, its transcripts, and its screens.

    python tests/fakes/claude_stories.py CLAUDE tests/data/claude-VERSION [STORY ...]

plays all stories, or only these. `hooks/STORY.json` gets the reports, `transcripts/STORY.jsonl` the transcript, and
a `.txt` file each screen on the way (`.styled.txt` with its colours).
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from lab import Lab

FOREVER = '[[bash: python3 -c "import time; time.sleep(600)"]] [[reply: no]]'
UNTIL = "import os,time\nwhile not os.path.exists('{}'): time.sleep(.05)"
STYLED = ("box-empty", "box-multi-line", "box-one-line", "box-shell", "busy-draft", "busy-queued", "idle-after-reply")
TYPED = {
    "box-one-line": "fix the parser, please",
    "box-multi-line": "first line\n\n  second line, indented\nthird: ünïcode ✓ 漢字",
    "box-wrapped": "word " * 110,
    "box-overflowing": "\n".join(f"line {number} of a long message" for number in range(80)),
}


class Story:
    """One session, from its first screen to its transcript."""

    def __init__(self, lab: Lab, target: Path, *args: str) -> None:
        self.lab, self.target = lab, target
        self.id = lab.create(*args)

    def send(self, text: str) -> None:
        self.lab.ok("send", self.id, text)

    def keys(self, *keys: str) -> None:
        self.lab.keys(self.id, *keys)

    def type(self, text: str) -> None:
        for number, line in enumerate(text.split("\n")):
            self.keys(*(["C-j"] if number else []))
            self.keys("-l", "--", line)

    def shows(self, words: str, name: str = "") -> None:
        """Wait until words are on the screen, and keep it under that name."""
        self.lab.until(lambda: re.search(words, self.lab.screen(self.id)), words)
        if name:
            keep(self.lab, self.target, f"=dev-{self.id}:", name)

    def prompts(self, count: int) -> None:
        self.lab.until(lambda: len(self.lab.prompts(self.id)) >= count, f"{count} prompts")

    def waits(self) -> None:
        self.lab.run("wait", self.id)

    def save(self, name: str) -> None:
        """Keep its reports and its transcript, once it writes nothing more."""
        uuid = json.loads((self.lab.folder(self.id) / "record.json").read_text())["backend"]["uuid"]
        (path,) = (self.lab.home / ".claude" / "projects").glob(f"*/{uuid}.jsonl")
        self.lab.until(lambda: time.time() - path.stat().st_mtime > 2.0, "a transcript that is complete")
        facts = [(path.stat().st_mtime, path) for path in (self.lab.folder(self.id) / "facts").glob("*.json")]
        found = [{"at": at, "payload": json.loads(path.read_text())} for at, path in sorted(facts)]
        reports = [one for one in found if "hook_event_name" in one["payload"]]  # the rest are our own notes
        write(
            self.lab, self.target / "hooks" / f"{name}.json", json.dumps(reports, ensure_ascii=False, indent=1) + "\n"
        )
        lines = [json.dumps(entry, separators=(",", ":"), ensure_ascii=False) for entry in self.lab.transcript(self.id)]
        write(self.lab, self.target / "transcripts" / f"{name}.jsonl", "\n".join(lines) + "\n")
        self.lab.ok("kill", self.id)


def write(lab: Lab, path: Path, text: str) -> None:
    """Write text without anything of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for found, shown in (
        (str(lab.project), "/home/user/project"),
        (str(lab.home), "/home/user"),
        (str(lab.path), "/home/user/lab"),
    ):
        text = text.replace(found, shown).replace(re.sub(r"[^a-zA-Z0-9]", "-", found), shown.replace("/", "-"))
    path.write_text(text)


def keep(lab: Lab, target: Path, pane: str, name: str) -> None:
    for suffix, flags in (("", ()), (".styled", ("-e",)))[: 2 if name in STYLED else 1]:
        shown = lab.tmux("capture-pane", "-p", *flags, "-t", pane)
        write(lab, target / f"{name}{suffix}.txt", shown.rstrip("\n") + "\n")


def boxes(lab: Lab, target: Path) -> None:
    for name, text in TYPED.items():
        story = Story(lab, target)
        story.type(text)
        story.shows(re.escape(text.strip().rpartition("\n")[2][-20:]), name)
        lab.ok("kill", story.id)
    story = Story(lab, target)
    story.type("hello")
    story.shows("❯.hello")
    story.keys("Escape")
    story.shows("Esc", "box-escape")
    lab.ok("kill", story.id)
    story = Story(lab, target)
    story.keys("!")
    story.shows("for (shell|bash) mode", "box-shell")
    story.type("ls -l")
    story.shows("ls -l", "box-shell-typed")
    lab.ok("kill", story.id)
    story = Story(lab, target)
    story.keys("/")
    story.shows("/compact|/clear", "box-menu")
    lab.ok("kill", story.id)


def plain(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.shows("❯", "box-empty")
    story.send(r"[[reply: It is\nfixed.]]")
    story.waits()
    story.shows("for \\d+s", "idle-after-reply")
    story.save("plain")


def tool(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.send("[[reply: I look.]] [[bash: echo found]] [[reply: Done.]]")
    story.waits()
    story.save("tool")


def joined(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.send(f'[[bash: python3 -c "{UNTIL.format("go")}"]] [[reply: First done.]]')
    story.shows("Running…")
    story.send("Second message")
    story.shows("Second message", "busy-tool-queued")
    (lab.project / "go").touch()
    story.waits()
    story.prompts(2)
    story.save("joined")


def followed(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.send("[[hold: f]] [[reply: One.]]")
    assert lab.model.wait_until_blocked("f")
    story.shows("…", "busy")
    for word in ("Two.", "Three."):
        story.send(f"[[reply: {word}]]")
    story.shows("edit queued", "busy-queued")
    story.type("a draft")
    story.shows("a draft", "busy-draft")
    story.keys("C-u")
    lab.model.release("f")
    story.waits()
    story.prompts(3)
    story.save("followed")


def followed_interrupted(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.send("[[stream: some words]] [[hold: q5]] [[reply: no]]")
    assert lab.model.wait_until_blocked("q5")
    for word in ("Two.", "Three."):
        story.send(f"[[reply: {word}]]")
    story.shows("edit queued")
    story.keys("Escape")
    story.shows("Three\\.\n")
    story.waits()
    story.save("followed-interrupted")


def interrupted(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.send(FOREVER)
    story.shows("Running…", "busy-tool")
    story.keys("Escape")
    story.shows("Interrupted", "interrupted")
    story.save("interrupted")
    for name, script, shown in (
        ("after-text", "[[stream: some words first]] [[hold: h]]", "Interrupted"),
        ("before-output", "[[hold: g]]", r"──\n❯.\[\[hold: g\]\]"),
    ):
        story = Story(lab, target)
        story.send(f"{script} [[reply: no]]")
        assert lab.model.wait_until_blocked(script[-3])
        story.shows("some words first" if name == "after-text" else "…")
        story.keys("Escape")
        story.shows(shown, "interrupted-before-output" if name == "before-output" else "")
        story.save(f"interrupted-{name}")


def failed(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.send("[[error: 400]]")
    story.waits()
    story.shows("scripted error 400", "failed")
    story.send("[[reply: Better now.]]")
    story.waits()
    story.save("failed")
    story = Story(lab, target)
    story.send("[[error: 529]]")
    story.waits()
    story.save("retried")


def background(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.send(f'[[bash_bg: python3 -c "{UNTIL.format("bg")}"]] [[reply: Started.]]')
    story.waits()
    story.shows("Started", "idle-background")
    (lab.project / "bg").touch()
    lab.ok("wait", story.id, "--settled")
    story.save("background")


def question(lab: Lab, target: Path) -> None:
    story = Story(lab, target)
    story.send("[[ask: Which colour?|Red|Blue]] [[reply: Blue it is.]]")
    story.shows(r"❯ 1\. Red", "dialog-question")
    lab.pending("Which colour?")
    story.keys("2")
    story.waits()
    story.save("question")


def permission(lab: Lab, target: Path) -> None:
    story = Story(lab, target, "--permissions", "ask")
    story.send("[[bash: touch made && ls]] [[reply: Made.]]")
    story.shows(r"❯ 1\. Yes", "dialog-permission-bash")
    lab.pending("touch made")
    story.keys("1")
    story.waits()
    story.send("[[write: out.txt|hello]] [[reply: Wrote.]]")
    story.shows("Do you want to create", "dialog-permission-write")
    lab.pending("out.txt")
    story.keys("1")
    story.waits()
    story.save("permission")


def plan(lab: Lab, target: Path) -> None:
    story = Story(lab, target, "--permissions", "plan")
    story.send("[[plan: Do A, then B.]] [[reply: ok]]")
    story.shows(r"❯ 1\. Yes", "dialog-plan")
    lab.until(lambda: json.loads(lab.ok("pending", "--json")), "the question")
    story.save("plan")


def views(lab: Lab, target: Path) -> None:
    """The views that take the keys instead of the box. Prints the cursor's row in each."""
    for name, keys, words in (
        ("history-search", ("C-r",), r"(?i)search"),
        ("menu-of-commands", ("/mo",), r"/model"),
        ("rewind", ("/rewind", "Enter"), "Enter to continue"),
        ("transcript", ("C-o",), r"(?i)showing detailed transcript"),
    ):
        story = Story(lab, target)
        story.send("[[reply: first one]]")
        story.waits()
        story.type(keys[0]) if keys[0].startswith("/") else story.keys(keys[0])
        story.shows(re.escape(keys[0]) if keys[0].startswith("/") else words)
        story.keys(*keys[1:])
        story.shows(words)
        keep(lab, target.parent / "views", f"=dev-{story.id}:", f"{target.name.removeprefix('claude-')}-{name}")
        print(name, lab.tmux("display-message", "-p", "-t", f"=dev-{story.id}:", "#{cursor_y}").strip())
        lab.ok("kill", story.id)


def start(lab: Lab, target: Path, name: str, words: str, *args: str) -> None:
    """Start Claude by itself, and keep the dialog with which it begins."""
    size = ("-x", "200", "-y", "50", "-c", str(lab.project))
    lab.tmux("new-session", "-d", "-s", name, *size, lab.env["DEV_SESSIONS_CLAUDE"], *args)
    lab.until(lambda: re.search(words, lab.tmux("capture-pane", "-p", "-t", name)), words)
    keep(lab, target, name, name)


def first_run(lab: Lab, **changed: Any) -> None:
    path = lab.home / ".claude.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def dialog_trust(lab: Lab, target: Path) -> None:
    def marked() -> list[str]:
        return re.findall("❯.*", lab.tmux("capture-pane", "-p", "-t", "dialog-trust"))

    lab.trust()
    start(lab, target, "dialog-trust", "Yes, I trust")
    chosen = marked()
    lab.tmux("send-keys", "-t", "dialog-trust", "Down")
    lab.until(lambda: marked() != chosen, "the other choice")
    keep(lab, target, "dialog-trust", "dialog-trust-yes")


def dialog_bypass(lab: Lab, target: Path) -> None:
    start(lab, target, "dialog-bypass", "Yes, I accept", "--dangerously-skip-permissions")


def dialog_api_key(lab: Lab, target: Path) -> None:
    first_run(lab, customApiKeyResponses={"approved": [], "rejected": []})
    start(lab, target, "dialog-api-key", "API key\\?")


def dialog_imports(lab: Lab, target: Path) -> None:
    outside = lab.path / "ext" / "x.md"
    outside.parent.mkdir()
    outside.write_text("outside\n")
    (lab.project / "CLAUDE.md").write_text(f"@{outside}\n")
    start(lab, target, "dialog-imports", "external imports")


def dialog_mcp(lab: Lab, target: Path) -> None:
    (lab.project / ".mcp.json").write_text(json.dumps({"mcpServers": {"demo": {"command": "true"}}}))
    start(lab, target, "dialog-mcp", "MCP server")


STORIES = (
    boxes,
    plain,
    tool,
    joined,
    followed,
    followed_interrupted,
    interrupted,
    failed,
    background,
    question,
    permission,
    plan,
    views,
    dialog_trust,
    dialog_bypass,
    dialog_api_key,
    dialog_imports,
    dialog_mcp,
)


def main() -> None:
    target = Path(sys.argv[2])
    for story in STORIES:
        if len(sys.argv) < 4 or story.__name__ in sys.argv[3:]:
            print(story.__name__, flush=True)
            with Lab(os.path.realpath(sys.argv[1]), "stories") as lab:
                story(lab, target)


if __name__ == "__main__":
    main()
