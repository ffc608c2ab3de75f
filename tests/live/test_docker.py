"""`--mode docker`: the real Claude in its own box, started by a `clauded` built on bubblewrap.

The box has its own pids, mounts and home; it shares the network of the test, where the model server runs.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import boxes
import engine
import pytest
from lab import Lab
from soak import only_in_soak

# What a wrapper must do, with bubblewrap. `{mounts}`: how it uses DEV_SESSIONS_MOUNTS.
WRAPPER = """#!/usr/bin/env python3
import os, sys
claude, words = {claude!r}, {system!r}
words += ["--setenv", "HOME", "/home/agent"]
mounts = [line.split(":") for line in os.environ.get("DEV_SESSIONS_MOUNTS", "").splitlines()]
for here, there, *mode in {mounts}:
    words += ["--ro-bind" if mode == ["ro"] else "--bind", here, there]
words += ["--chdir", os.getcwd() if os.getcwd() in [mount[1] for mount in {mounts}] else "/"]
os.execvp("bwrap", [*words, "--", claude, *sys.argv[1:]])
"""


def clauded(lab: Lab, claude: str, mounts: str = "mounts") -> dict[str, str]:
    """The environment with such a wrapper on PATH."""
    folder = lab.path / f"bin-{len(mounts)}"
    folder.mkdir(exist_ok=True)
    real = os.path.realpath(claude)
    system = [*boxes.system(), *boxes.readable(os.path.dirname(real))]
    (folder / "clauded").write_text(WRAPPER.format(claude=real, system=system, mounts=mounts))
    (folder / "clauded").chmod(0o755)
    return {"PATH": f"{folder}:{lab.env['PATH']}"}


@pytest.fixture(scope="module")
def boxed(claude: str) -> Iterator[Lab]:
    with Lab(claude, "docker") as lab:
        lab.trust(lab.project)
        lab.env |= clauded(lab, claude)
        yield lab


def test_as_natively(boxed: Lab) -> None:
    lab = boxed
    id = lab.create("--mode", "docker", "--permissions", "ask")
    record = lab.run("inspect", id, "--json").json
    assert (record["mode"], record["status"]) == ("docker", "idle")
    assert lab.ok("ask", id, "[[reply: from the box]]", "--timeout", "60") == "from the box"
    # It really is a box: it has its own pids, and sees only the files of the host that were mounted.
    lab.ok("send", id, f"[[bash: ls {lab.home} || echo none >gone; echo $$ >pid]][[reply: looked]]")
    done = lab.run("wait", id, "--timeout", "60")
    assert (done.code, done.out) == (6, "waiting_for_input\n")
    assert lab.ok("status", id) == "waiting_for_input"
    lab.ok("respond", id, "--allow")
    assert lab.ok("wait", id, "--timeout", "60") == "completed"
    assert lab.ok("last-message", id) == "looked"
    assert (lab.project / "gone").exists()
    assert int((lab.project / "pid").read_text()) < 1000
    logs = lab.run("logs", id, "--json").json
    assert [entry["text"] for entry in logs if entry["role"] == "assistant"][-1] == "looked"
    assert "echo none >gone" in str([entry["input"] for entry in logs])
    # A long message is sent as a file, which is read from the session's folder in the box.
    assert lab.ok("ask", id, "[[reply: read]]\n" + "x\t" * 30_000, "--timeout", "60") == "read"
    lab.ok("kill", id)
    assert lab.processes() == []


def test_interrupt_death_revive_kill(boxed: Lab) -> None:
    lab = boxed
    id = lab.create("--mode", "docker")
    assert lab.ok("ask", id, "[[reply: before]]", "--timeout", "60") == "before"
    lab.ok("send", id, "[[hold: on]][[reply: never]]")
    assert lab.model.wait_until_blocked("on")
    waiting = lab.start("wait", id)
    assert lab.ok("interrupt", id)
    assert lab.finish(waiting)[:2] == (5, "interrupted\n")
    assert lab.ok("ask", id, "[[reply: after]]", "--timeout", "60") == "after"
    lab.ok("send", id, "[[hold: two]][[reply: never]]")
    assert lab.model.wait_until_blocked("two")
    waiting = lab.start("wait", id)
    os.kill(lab.pid(id), signal.SIGKILL)
    assert lab.finish(waiting)[:2] == (5, "exited\n")
    assert lab.ok("last-message", id) == "after"
    lab.until(lambda: not lab.processes(), "the end of the box")
    assert f"Revived session {id}" in lab.ok("revive", id)
    assert lab.ok("ask", id, "[[reply: again]]", "--timeout", "60") == "again"
    assert lab.run("last-message", id, "-n", "3", "--json").json == ["before", "after", "again"]
    lab.ok("kill", id)
    assert lab.processes() == []


# What an agent in a container may try. S is its session's folder, HOST a folder of the host that contains files. Inside
# the container these attempts may succeed.
ATTACK = """
echo 'touch {host}/owned' >>{S}/agent/start.sh
printf '#!/bin/sh\\ntouch {host}/owned\\n' >{S}/agent/paste.tmux
for name in lock process record.json past.jsonl past.json courier.log courier.lock notice.json; do
    rm -f {S}/$name; ln -s {host}/secret {S}/$name
done
mkdir -p {S}/messages/0001 {S}/messages/0007
ln -sf {host}/secret {S}/messages/0001/text.md
ln -sf {host}/secret {S}/messages/0007/text.md
echo '{{"hooks": {{}}}}' >{S}/agent/settings.json
ln -s {host}/secret {S}/facts/link.json
mkfifo {S}/facts/pipe.json
echo '{{"hook_event_name": "Stop", "transcript_path": "{host}/{uuid}.jsonl"}}' >{S}/facts/told.json
rm -rf $CLAUDE_CONFIG_DIR/sessions
ln -s {host} $CLAUDE_CONFIG_DIR/sessions
ln -s {host}/secret $CLAUDE_CONFIG_DIR/keybindings.json
ln -s /dev/zero $CLAUDE_CONFIG_DIR/projects/zero
touch {project}/attacked
"""


@pytest.fixture(params=["bubblewrap", "engine"])
def attacked(request: pytest.FixtureRequest, boxed: Lab, claude: str) -> Iterator[Lab]:
    """A lab whose Claude runs in a box, or in a container of a real engine by the `clauded` of docs/containers.md."""
    if request.param == "bubblewrap":
        yield boxed
        return
    if why := engine.missing():
        pytest.skip(why)
    with Lab(claude, "engine") as lab:
        lab.env |= engine.clauded(lab, claude)
        try:
            yield lab
        finally:
            engine.remove(lab)


def test_what_the_agent_inside_does_to_its_folder_does_nothing_to_the_host(attacked: Lab) -> None:
    lab = attacked
    id = lab.create("--mode", "docker")
    assert lab.ok("ask", id, "[[reply: before]]", "--timeout", "60") == "before"
    host, uuid = lab.path / "host", "00000000-0000-4000-8000-000000000000"
    host.mkdir()
    said = {"type": "assistant", "timestamp": "2030-01-01T00:00:00.000Z", "message": {"content": "SECRET"}}
    for name in ("secret", f"{uuid}.jsonl", "1.json"):
        (host / name).write_text(json.dumps(said) + "\n")
        (host / name).chmod(0o644)
    before = {path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime) for path in host.iterdir()}
    folder = lab.folder(id)
    script = (folder / "agent" / "start.sh").read_bytes()
    (lab.project / "attack.sh").write_text(ATTACK.format(S=folder, host=host, uuid=uuid, project=lab.project))
    lab.ok("send", id, "[[bash: sh attack.sh]][[hold: attacked]]")
    lab.until((lab.project / "attacked").exists, "the end of the attack")
    assert (folder / "facts" / "link.json").is_symlink()
    assert (folder / "agent" / "start.sh").read_bytes() == script
    assert [path for path in folder.iterdir() if path.is_symlink()] == []
    assert os.listdir(folder / "messages") == ["0001", "0002"]
    for words in (("status",), ("logs", "--json"), ("logs",), ("last-message", "-n", "9"), ("inspect", "--json")):
        assert "SECRET" not in lab.ok(words[0], id, *words[1:])
    os.kill(lab.pid(id), signal.SIGKILL)
    assert f"Revived session {id}" in lab.ok("revive", id)
    assert lab.ok("ask", id, "[[reply: again]]", "--timeout", "60") == "again"
    lab.ok("kill", id)
    assert lab.processes() == []
    after = {path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime) for path in host.iterdir()}
    assert after == before


PROJECT_ALONE = "[one for one in mounts if one[1] == os.getcwd()]"


@pytest.mark.parametrize(
    "mounts",
    [pytest.param("[]", id="none", marks=only_in_soak), pytest.param(PROJECT_ALONE, id="the project alone")],
)
def test_without_the_mounts_it_says_what_is_missing(boxed: Lab, claude: str, mounts: str) -> None:
    lab = boxed
    env = {**clauded(lab, claude, mounts), "DEV_SESSIONS_READY_TIMEOUT": "8"}
    done = lab.run("create", "--mode", "docker", env=env)
    assert done.code == 1, done
    assert "DEV_SESSIONS_MOUNTS" in done.err
    assert "docs/containers.md" in done.err
    assert lab.processes() == []
    assert not list(lab.state.glob("sessions/*"))


def test_without_clauded(boxed: Lab, tmp_path: Path) -> None:
    path = ":".join(part for part in boxed.env["PATH"].split(":") if "bin-" not in part)
    done = boxed.run("create", "--mode", "docker", env={"PATH": path})
    assert done.code == 1
    assert "there is no clauded on PATH" in done.err
    assert "function or alias" in done.err
    done = boxed.run("create", "--mode", "docker", env={"DEV_SESSIONS_CLAUDED": str(tmp_path / "none")})
    assert "DEV_SESSIONS_CLAUDED names" in done.err
