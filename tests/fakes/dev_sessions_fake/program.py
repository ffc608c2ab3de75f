r"""A scripted agent: a real program in a real terminal, without a model.

A prompt holds directives, `[[verb: argument]]`, carried out in order.  A prompt without any is echoed.

    reply: TEXT      say something                    delay: SECONDS   wait
    hold: NAME       wait until agent/release/NAME exists; deaf: NAME, and heed no interrupt
    ask: Q|A|B       ask, and wait for an answer: agent/answers/ID, or a line typed in the terminal; Q|A;R|C asks both
    may: TEXT        ask for permission               replytool        say what was answered
    bash: COMMAND    run it                           replytool        say what it printed
    bash_bg: COMMAND leave it running at the turn's end; the agent wakes by itself when it is over
    agent: COMMAND   the same of a subagent, which works as long as the command runs
    error: TEXT      the turn fails                   die              end at once, without a word
    limit: TIME      the turn fails by a limit that resets then (seconds since the epoch)
    die: TEXT        say why, then end                join             while busy: become part of the running turn
    late: NAME       take this prompt, but say so only once agent/release/NAME exists

`\n` in a TEXT is a line feed.  A prompt `[file] PATH` stands for what is in that file.

What it is given are JSON files in `agent/inbox/`; the file `agent/interrupt` ends the running turn; a line typed in
the terminal is a prompt too, or the answer to what it asks.  What it says are JSON files in `facts/`, moved in whole;
what it does now is in `agent/status.json`, what was said in `agent/conversation.jsonl`.  The variable `FAKE_START`
scripts its start: `die: TEXT`, `trust`, `dialog: TEXT` or `mute`; `FAKE_TICK` is how often it looks, in seconds.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

TICK = float(os.environ.get("FAKE_TICK", "0.01"))
# How often it polls after a second without output: there may be dozens of these processes.
SELDOM = max(TICK, 0.05)
VERBS = "agent ask bash bash_bg deaf delay die error hold join late limit may reply replytool"
_DIRECTIVE = re.compile(rf"\[\[({'|'.join(VERBS.split())})(?::((?:(?!\]\]).)*))?\]\]", re.DOTALL)
_POINTER = "[file] "


class Prompt(NamedTuple):
    """A prompt of the agent; `inbox` is the name of its file, and `held` means that it came during a turn."""

    text: str
    inbox: str | None
    held: bool = False

    @property
    def directives(self) -> list[tuple[str, str]]:
        text = self.text
        if text.startswith(_POINTER):
            with open(text.removeprefix(_POINTER), encoding="utf-8", newline="") as file:
                text = file.read()
        found = [(verb, argument.strip().replace("\\n", "\n")) for verb, argument in _DIRECTIVE.findall(text)]
        return found or [("reply", text)]

    def names(self, verb: str) -> list[str]:
        return [argument for found, argument in self.directives if found == verb]


class Left(NamedTuple):
    """Work in the background."""

    child: subprocess.Popen[bytes]
    kind: str
    command: str

    def shown(self) -> list[str]:
        return [str(self.child.pid), self.kind, self.command]


class Interrupted(Exception):
    """The running turn is to end."""


class Failed(Exception):
    """The running turn has failed; `fields` are added to the report of its end."""

    def __init__(self, error: str, **fields: Any) -> None:
        super().__init__(error)
        self.fields = fields


class Agent:
    """One conversation, in the folder of its session."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.typed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.waiting: list[Prompt] = []  # taken, not begun
        self.late: list[tuple[str, Prompt]] = []
        self.background: list[Left] = []
        self.running: str | None = None
        self.asking = False
        self.said = time.monotonic()
        # One that was revived goes on counting where it was.
        self.facts = self.turns = max((int(name[:6]) for name in self.listed("facts")), default=0)

    def live(self) -> NoReturn:
        """Start, then take prompts until something ends the program."""
        for name in ("inbox", "release", "answers"):
            os.makedirs(self.path(name), mode=0o700, exist_ok=True)
        self.register()
        threading.Thread(target=self.read_terminal, daemon=True).start()
        self.begin(os.environ.get("FAKE_START", ""))
        self.status("idle")
        self.say("alive")
        self.show("ready")
        while True:
            if os.path.exists(self.path("interrupt")):
                self.stop_agents()
                self.remove("interrupt")  # it came too late for the turn that it meant
            self.take()
            self.wake()
            if self.waiting:
                self.turn(self.waiting.pop(0))
            else:
                self.rest()

    def rest(self) -> None:
        time.sleep(TICK if time.monotonic() < self.said + 1.0 else SELDOM)

    def register(self) -> None:
        """Write down the pid and the system's line with the start time of the process."""
        pid = os.getpid()
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                stamp = file.read()
        except OSError:
            asked = subprocess.run(
                ["env", "LC_ALL=C", "TZ=UTC0", "ps", "-o", "lstart=", "-p", str(pid)],
                capture_output=True,
                text=True,
                check=True,
            )
            stamp = asked.stdout
        self.write(os.path.join(self.folder, "process"), f"{pid}\n{stamp}")

    def begin(self, script: str) -> None:
        verb, _, words = script.partition(": ")
        if verb == "die":
            self.show(words)
            sys.exit(1)
        if verb == "mute":
            self.until(lambda: False)
        if verb in ("trust", "dialog"):
            self.status("waiting", "May I work in this folder?" if verb == "trust" else words)
            self.asking = True  # what is typed now is the answer
            self.show(words)
            self.until(lambda: self.answered("start"))
            self.asking = False

    # What comes in.

    def read_terminal(self) -> None:
        for line in sys.stdin:
            self.typed.put(line.rstrip("\n"))

    def take(self) -> None:
        """Take new prompts and report them."""
        for name in sorted(os.listdir(self.path("inbox"))):
            if name.endswith(".json"):
                path = self.path("inbox", name)
                with open(path, encoding="utf-8") as file:
                    text = json.load(file)["text"]
                os.unlink(path)
                self.receive(Prompt(text, name))
        if not self.asking and not self.typed.empty():
            self.receive(Prompt(self.typed.get(), None))
        for name, prompt in list(self.late):
            if self.released(name):
                self.late.remove((name, prompt))
                self.accept(prompt)

    def receive(self, prompt: Prompt) -> None:
        late = prompt.names("late")
        if late:
            self.late.append((late[0], prompt))
        else:
            self.accept(prompt)

    def accept(self, prompt: Prompt, **more: str) -> None:
        if self.running is None and not self.waiting:
            self.turns += 1
            self.say("accepted", text=prompt.text, inbox=prompt.inbox, prompt=f"turn-{self.turns}", **more)
            self.waiting.append(prompt)
            return
        self.say("accepted", text=prompt.text, inbox=prompt.inbox, held=True)
        if self.running is not None and any(verb == "join" for verb, _ in prompt.directives):
            self.say("joined", text=prompt.text)
        else:
            self.waiting.append(prompt._replace(held=True))

    def wake(self) -> None:
        """Background work has ended, which begins a turn without a prompt."""
        over = next((left for left in self.background if left.child.poll() is not None), None)
        if over is not None and not self.waiting:
            self.background.remove(over)
            what = "subagent" if over.kind == "agent" else "background work"
            self.accept(Prompt(f"[[reply: the {what} is over]]", None), task=str(over.child.pid))

    def agents(self) -> list[Left]:
        return [left for left in self.background if left.kind == "agent"]

    def stop_agents(self) -> None:
        if agents := self.agents():
            for left in agents:
                left.child.kill()
                left.child.wait()
                self.background.remove(left)
            self.say("stopped")
            self.status("idle")

    # A turn.

    def turn(self, prompt: Prompt) -> None:
        if prompt.held:
            self.turns += 1
            self.say("started", text=prompt.text, prompt=f"turn-{self.turns}")
        self.running = f"turn-{self.turns}"
        self.status("busy")
        self.show(f"> {prompt.text[:60]}")
        said: list[str] = []
        ending: dict[str, Any] = {"outcome": "completed"}
        try:
            self.carry_out(prompt, said)
        except Failed as error:
            ending = {"outcome": "failed", "error": str(error), **error.fields}
        except Interrupted:
            ending = {"outcome": "interrupted"}
            for dropped in self.waiting:  # what it had not begun ends with it
                self.say("joined", text=dropped.text)
            self.waiting = []
        reply = said[-1] if said and ending["outcome"] == "completed" else None
        ending |= {"background": len(self.background), "left": [left.shown() for left in self.background]}
        ending |= {"subagents": [str(left.child.pid) for left in self.agents()]}
        self.say("ended", prompt=self.running, reply=reply, **ending)
        self.running = None
        self.remove("interrupt")
        if not self.waiting:
            self.status("idle")

    def carry_out(self, prompt: Prompt, said: list[str]) -> None:
        printed = ""
        for verb, argument in prompt.directives:
            self.take()
            if verb in ("reply", "replytool"):
                said.append(argument if verb == "reply" else printed)
                self.converse(said[-1])
            elif verb == "delay":
                end = time.monotonic() + float(argument)
                self.until(lambda end=end: time.monotonic() >= end)  # type: ignore[misc]
            elif verb == "hold":
                self.until(lambda name=argument: self.released(name))  # type: ignore[misc]
            elif verb == "deaf":
                while not self.released(argument):
                    time.sleep(TICK)
            elif verb == "ask":
                printed = self.ask(*argument.split(";"))
            elif verb == "may":
                printed = self.ask(f"{argument}|allow|always|deny", kind="permission")
            elif verb == "bash":
                done = subprocess.run(["/bin/sh", "-c", argument], stdin=subprocess.DEVNULL, capture_output=True)
                printed = (done.stdout + done.stderr).decode(errors="replace").rstrip("\n")
            elif verb in ("bash_bg", "agent"):
                child = subprocess.Popen(["/bin/sh", "-c", argument], stdin=subprocess.DEVNULL)
                self.background.append(Left(child, "agent" if verb == "agent" else "command", argument))
            elif verb == "error":
                raise Failed(argument)
            elif verb == "limit":
                raise Failed("used up", reason="limit", resets_at=float(argument) if argument else None)
            elif verb == "die":
                self.die(argument)

    def ask(self, *questions: str, kind: str = "question") -> str:
        """Ask all of these at once; returns the answers, one per line."""
        self.asking = True
        self.status("waiting")
        ids = []
        for question in questions:
            text, *options = question.split("|")
            ids.append(f"question-{self.facts + 1}")
            asked = {"id": ids[-1], "kind": kind, "text": text, "options": options}
            self.say("asked", question=asked, held=len(questions) > 1)
            self.show(f"? {text} {' | '.join(options)}")
        told: set[str] = set()
        try:
            self.until(lambda: self.all_answered(ids, told))
        finally:
            self.asking = False
        self.status("busy")
        return "\n".join(self.read(self.path("answers", id)) for id in ids)

    def all_answered(self, ids: list[str], told: set[str]) -> bool:
        for id in ids:
            if id not in told and self.answered(id):
                told.add(id)
                self.say("answered", text=id)
        return len(told) == len(ids)

    @staticmethod
    def read(path: str) -> str:
        with open(path, encoding="utf-8") as file:
            return file.read()

    def answered(self, id: str) -> bool:
        path = self.path("answers", id)
        if not self.typed.empty():
            self.write(path, self.typed.get())
        return os.path.exists(path)

    def die(self, last_words: str) -> NoReturn:
        if last_words:
            self.say("gone", error=last_words)
        os._exit(1)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait, and take messages that arrive meanwhile."""
        while not condition():
            if self.running is not None and os.path.exists(self.path("interrupt")):
                raise Interrupted
            self.take()
            self.rest()

    # What goes out.

    def say(self, kind: str, **fields: Any) -> None:
        self.facts += 1
        self.said = time.monotonic()
        fact = {"kind": kind, "at": time.time(), **fields}
        self.write(os.path.join(self.folder, "facts", f"{self.facts:06d}-{kind}.json"), json.dumps(fact))

    def status(self, activity: str, detail: str | None = None) -> None:
        activity = "busy" if activity == "idle" and self.agents() else activity
        status = {"activity": activity, "since": time.time(), "detail": detail, "background": len(self.background)}
        self.write(self.path("status.json"), json.dumps(status))

    def converse(self, text: str) -> None:
        self.show(text[:200])
        with open(self.path("conversation.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps({"text": text, "at": time.time(), "prompt": self.running}) + "\n")

    def show(self, text: str) -> None:
        print(text, flush=True)

    # Files.

    def path(self, *parts: str) -> str:
        return os.path.join(self.folder, "agent", *parts)

    def listed(self, name: str) -> list[str]:
        path = os.path.join(self.folder, name)
        return [found for found in os.listdir(path) if not found.startswith(".")] if os.path.isdir(path) else []

    def released(self, name: str) -> bool:
        return os.path.exists(self.path("release", name))

    def remove(self, name: str) -> None:
        try:
            os.unlink(self.path(name))
        except FileNotFoundError:
            pass

    @staticmethod
    def write(path: str, content: str) -> None:
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f".{name}.tmp")
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        os.replace(temporary, path)


if __name__ == "__main__":
    os.umask(0o077)
    Agent(sys.argv[1]).live()
