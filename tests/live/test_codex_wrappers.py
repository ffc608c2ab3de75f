"""A `codex` that is a script: npm's, which runs the real one as its child, or a person's, which sets CODEX_HOME."""

from __future__ import annotations

import os

import pytest
from codex_lab import CodexLab
from soak import only_in_soak

# npm's script passes signals to its child. A plain script does not, but its end also ends the server.
SCRIPTS = {
    "a child that is told of signals": '{codex} "$@" &\nchild=$!\ntrap "kill $child" TERM\nwait $child\n',
    "more flags": 'exec {codex} -c model_reasoning_effort=low "$@"\n',
    "another home": 'export CODEX_HOME={home}\n{codex} "$@"\n',
}


@pytest.mark.parametrize(
    "script",
    [pytest.param(script, marks=only_in_soak if script == "more flags" else ()) for script in SCRIPTS],
)
def test_it_works_and_nothing_is_left(codex_lab: CodexLab, codex: str, script: str) -> None:
    lab, other = codex_lab, codex_lab.path / "other"
    other.mkdir()
    (other / "config.toml").write_text((lab.codex_home / "config.toml").read_text())
    wrapper = lab.path / "codex"
    wrapper.write_text("#!/bin/sh\n" + SCRIPTS[script].format(codex=codex, home=other))
    wrapper.chmod(0o755)
    lab.env["DEV_SESSIONS_CODEX"] = str(wrapper)
    id, home = lab.create(), other if script == "another home" else lab.codex_home
    assert lab.ok("ask", id, "[[reply: hi]]") == "hi"
    assert lab.private(id)["home"] == str(home)
    assert os.path.exists(home / "app-server-control" / "app-server-control.sock")
    assert lab.create() != id  # it is in the same server
    assert len([pid for pid in lab.servers() if os.path.realpath(f"/proc/{pid}/exe") == codex]) == 1
    lab.ok("kill", "--all")
    assert lab.processes() == []


def test_one_that_names_no_folder_is_told_at_once(codex_lab: CodexLab, codex: str) -> None:
    wrapper = codex_lab.path / "codex"
    wrapper.write_text(f'#!/bin/sh\nCODEX_HOME=conf exec {codex} "$@"\n')
    wrapper.chmod(0o755)
    codex_lab.env["DEV_SESSIONS_CODEX"] = str(wrapper)
    refused = codex_lab.run("create", "--cli", "codex")
    assert refused.code == 1
    assert "ended at its start" in refused.err
    assert 'CODEX_HOME points to "conf"' in refused.err
    assert f"{wrapper} is a script, which may have set CODEX_HOME" in refused.err
    assert codex_lab.processes() == []


def test_a_relative_home_is_that_of_the_caller(codex_lab: CodexLab) -> None:
    lab, home = codex_lab, codex_lab.project / "conf"
    home.mkdir()
    (home / "config.toml").write_text((lab.codex_home / "config.toml").read_text())
    id = lab.create("--path", str(lab.path), env={"CODEX_HOME": "conf"})
    assert lab.ok("ask", id, "[[bash: echo $CODEX_HOME]][[replytool]]", cwd=lab.path) == str(home)
