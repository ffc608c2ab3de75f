"""The gateway as a service: its unit file, and the error without a user bus."""

from __future__ import annotations

import os
import plistlib
from pathlib import Path

import pytest

from dev_sessions.errors import DevSessionsError
from dev_sessions.gateway import unit

ENVIRON = {"HOME": "/home/ann", "PATH": "/usr/bin:/opt/a b/100%", "IS_SANDBOX": "1", "ANTHROPIC_API_KEY": "secret"}


def test_the_unit_of_systemd() -> None:
    words = ["--port", "6767", "--allow", '/home/ann/my $work "x" 5%\\']
    made = unit.plan(ENVIRON, "linux", "/opt/v e/bin/python", "/home/ann/.dev-sessions", words)
    assert (made.kind, made.path) == ("systemd", "/home/ann/.config/systemd/user/dev-sessions-gateway.service")
    allowed = r'"/home/ann/my $$work \"x\" 5%%\\"'
    assert made.content.decode() == (
        "[Unit]\n"
        "Description=dev-sessions gateway: agents in containers use the sessions of this machine\n"
        "\n"
        "[Service]\n"
        f'ExecStart="/opt/v e/bin/python" "-m" "dev_sessions" "gateway" "--port" "6767" "--allow" {allowed}\n'
        'Environment="DEV_SESSIONS_HOME=/home/ann/.dev-sessions"\n'
        'Environment="IS_SANDBOX=1"\n'
        'Environment="PATH=/usr/bin:/opt/a b/100%%"\n'
        "# Only the gateway itself is stopped: the agents' tmux server and the couriers live in this unit's group.\n"
        "KillMode=process\n"
        "Restart=on-failure\n"
        "RestartSec=1\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def test_the_agent_of_launchd() -> None:
    made = unit.plan(ENVIRON, "darwin", "/opt/v e/bin/python", "/home/ann/.dev-sessions", ["--port", "1"])
    assert (made.kind, made.path) == ("launchd", "/home/ann/Library/LaunchAgents/dev-sessions.gateway.plist")
    assert plistlib.loads(made.content) == {
        "Label": "dev-sessions.gateway",
        "ProgramArguments": ["/opt/v e/bin/python", "-m", "dev_sessions", "gateway", "--port", "1"],
        "EnvironmentVariables": {
            "DEV_SESSIONS_HOME": "/home/ann/.dev-sessions",
            "IS_SANDBOX": "1",
            "PATH": "/usr/bin:/opt/a b/100%",
        },
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "AbandonProcessGroup": True,
        "StandardOutPath": "/home/ann/.dev-sessions/gateway/log",
        "StandardErrorPath": "/home/ann/.dev-sessions/gateway/log",
    }


class Machine:
    """A machine whose service manager records its calls, and fails for the given ones."""

    def __init__(self, folder: Path, platform: str) -> None:
        self.log, self.failing = folder / "log", folder / "failing"
        self.failing.touch()
        program = folder / "bin" / {"linux": "systemctl", "darwin": "launchctl"}[platform]
        program.parent.mkdir()
        refuse = f'grep -qxF -- "$*" {self.failing} && {{ echo "it will not" >&2; exit 1; }}'
        program.write_text(f'#!/bin/sh\necho "$*" >>{self.log}\n{refuse}\nexit 0\n')
        program.chmod(0o755)
        self.environ = {"HOME": str(folder), "PATH": f"{program.parent}:{os.defpath}"}
        self.plan = unit.plan(self.environ, platform, "/bin/python", str(folder / "state"), [])

    def told(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def linux(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "linux")


def test_it_can_be_installed_twice_and_removed(linux: Machine) -> None:
    for _ in range(2):
        unit.install(linux.plan, linux.environ)
        assert Path(linux.plan.path).read_bytes() == linux.plan.content
    name = "dev-sessions-gateway.service"
    steps = ["show-environment", "daemon-reload", f"enable {name}", f"restart {name}"]
    assert linux.told() == [f"--user {step}" for step in steps * 2]
    assert unit.uninstall(linux.plan, linux.environ)
    assert linux.told()[8:] == [f"--user {step}" for step in (f"disable --now {name}", "daemon-reload")]
    assert not Path(linux.plan.path).exists()
    assert not unit.uninstall(linux.plan, linux.environ)


def test_without_a_user_bus_nothing_is_written(linux: Machine) -> None:
    linux.failing.write_text("--user show-environment\n")
    with pytest.raises(DevSessionsError, match="no systemd user session") as caught:
        unit.install(linux.plan, linux.environ)
    assert "loginctl enable-linger" in caught.value.data["next"]
    assert "XDG_RUNTIME_DIR" in caught.value.data["next"]
    assert not Path(linux.plan.path).exists()
    with pytest.raises(DevSessionsError, match="no systemd user session"):
        unit.install(linux.plan, {**linux.environ, "PATH": "/nonexistent"})


@pytest.mark.parametrize("before", [None, b"[Service]\nold\n"], ids=["none", "an older one"])
def test_a_unit_that_does_not_start_leaves_the_old_file(linux: Machine, before: bytes | None) -> None:
    path = Path(linux.plan.path)
    if before is not None:
        path.parent.mkdir(parents=True)
        path.write_bytes(before)
    linux.failing.write_text("--user restart dev-sessions-gateway.service\n")
    with pytest.raises(DevSessionsError, match="it will not"):
        unit.install(linux.plan, linux.environ)
    assert (path.read_bytes() if path.exists() else None) == before


def test_on_a_mac(tmp_path: Path) -> None:
    mac = Machine(tmp_path, "darwin")
    domain = f"gui/{os.getuid()}"
    mac.failing.write_text(f"bootout {domain}/dev-sessions.gateway\n")  # none was there
    unit.install(mac.plan, mac.environ)
    gone = f"bootout {domain}/dev-sessions.gateway"
    assert mac.told() == [f"print {domain}", gone, f"bootstrap {domain} {mac.plan.path}"]
    assert unit.uninstall(mac.plan, mac.environ)
    assert mac.told()[-1] == gone
    assert not Path(mac.plan.path).exists()
