"""The gateway as a service of the user: a systemd user unit on Linux, a launchd agent on macOS."""

from __future__ import annotations

import os
import subprocess

from ..errors import DevSessionsError
from ..system import files
from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNIT = "dev-sessions-gateway.service"
LABEL = "dev-sessions.gateway"
_SECONDS = 30.0
# What the agents and the commands need of the user's environment. No key and no token: the unit's file is read by
# whoever may read the user's configuration, and agents keep their own logins.
_KEPT = (
    *("PATH", "LANG", "DEV_SESSIONS_HOME", "DEV_SESSIONS_CLAUDE", "DEV_SESSIONS_CODEX", "CLAUDE_CONFIG_DIR"),
    *("CODEX_HOME", "TMUX_TMPDIR", "IS_SANDBOX", "DEV_SESSIONS_GATEWAY_HOSTS"),
)

_SYSTEMD = """[Unit]
Description=dev-sessions gateway: agents in containers use the sessions of this machine

[Service]
ExecStart={command}
{environment}
# Only the gateway itself is stopped: the agents' tmux server and the couriers live in this unit's group.
KillMode=process
Restart=on-failure
RestartSec=1

[Install]
WantedBy=default.target
"""


class Plan(NamedTuple):
    """What makes the gateway a service.

    Attributes:
        kind: "systemd" or "launchd".
        path: of the unit's file.
        content: of that file.
        python: the interpreter that runs the gateway, absolute.
    """

    kind: str
    path: str
    content: bytes
    python: str


def plan(environ: Mapping[str, str], platform: str, python: str, home: str, arguments: Sequence[str]) -> Plan:
    """What `install` would do.

    Args:
        platform: as `sys.platform` has it.
        python: the interpreter that has this package.
        home: the state folder.
        arguments: of `dev-sessions gateway`.
    """
    argv = [python, "-m", "dev_sessions", "gateway", *arguments]
    kept = {name: environ[name] for name in _KEPT if environ.get(name)} | {"DEV_SESSIONS_HOME": home}
    user = environ.get("HOME") or os.path.expanduser("~")
    if platform == "darwin":
        path = os.path.join(user, "Library", "LaunchAgents", f"{LABEL}.plist")
        return Plan("launchd", path, _property_list(argv, kept, home), python)
    folder = environ.get("XDG_CONFIG_HOME") or os.path.join(user, ".config")
    variables = [f"Environment={_quoted(f'{name}={value}', variables=False)}" for name, value in sorted(kept.items())]
    command = " ".join(_quoted(word) for word in argv)
    content = _SYSTEMD.format(command=command, environment="\n".join(variables))
    return Plan("systemd", os.path.join(folder, "systemd", "user", UNIT), content.encode(), python)


def _quoted(word: str, variables: bool = True) -> str:
    """A word as systemd reads it (systemd.syntax(7), systemd.service(5)); `variables`: where $NAME is replaced."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{escaped.replace("$", "$$") if variables else escaped}"'


def _property_list(argv: Sequence[str], environment: Mapping[str, str], home: str) -> bytes:
    import plistlib

    log = os.path.join(home, "gateway", "log")
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(argv),
            "EnvironmentVariables": dict(environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            # Else launchd ends the agents' tmux server and the couriers together with the gateway.
            "AbandonProcessGroup": True,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def install(plan: Plan, environ: Mapping[str, str]) -> None:
    """Write the unit and have it run; what was there before is replaced.

    Raises:
        DevSessionsError: it cannot run; the file is as it was before.
    """
    service = _SERVICES[plan.kind]
    service.check(environ)
    before = files.read(plan.path)
    os.makedirs(os.path.dirname(plan.path), exist_ok=True)
    files.write_whole(plan.path, plan.content)
    try:
        service.start(plan, environ)
    except BaseException:
        _put_back(plan, before)
        raise


def _put_back(plan: Plan, before: bytes | None) -> None:
    if before is None:
        files.remove(plan.path)
    else:
        files.write_whole(plan.path, before)


def uninstall(plan: Plan, environ: Mapping[str, str]) -> bool:
    """End the service and remove its unit; False if there was none.

    Raises:
        DevSessionsError: it cannot be ended.
    """
    if not os.path.exists(plan.path):
        return False
    _SERVICES[plan.kind].stop(plan, environ)
    files.remove(plan.path)
    _SERVICES[plan.kind].forget(environ)
    return True


class _Systemd:
    def check(self, environ: Mapping[str, str]) -> None:
        if _told(["systemctl", "--user", "show-environment"], environ) is not None:
            raise DevSessionsError(
                "no systemd of yours runs here (a server without a login, a container)",
                next="sudo loginctl enable-linger $USER and log in again, with XDG_RUNTIME_DIR=/run/user/$(id -u); "
                "or run it yourself: tmux new-session -d dev-sessions gateway",
            )

    def start(self, plan: Plan, environ: Mapping[str, str]) -> None:
        _run(["systemctl", "--user", "daemon-reload"], environ)
        _run(["systemctl", "--user", "enable", UNIT], environ)
        _run(["systemctl", "--user", "restart", UNIT], environ)

    def stop(self, plan: Plan, environ: Mapping[str, str]) -> None:
        _run(["systemctl", "--user", "disable", "--now", UNIT], environ)

    def forget(self, environ: Mapping[str, str]) -> None:
        _told(["systemctl", "--user", "daemon-reload"], environ)


class _Launchd:
    def check(self, environ: Mapping[str, str]) -> None:
        if _told(["launchctl", "print", _domain()], environ) is not None:
            raise DevSessionsError(
                "no launchd session of yours runs here (no user is logged in at the screen)",
                next="log in at the screen, or run it yourself: dev-sessions gateway",
            )

    def start(self, plan: Plan, environ: Mapping[str, str]) -> None:
        _told(["launchctl", "bootout", f"{_domain()}/{LABEL}"], environ)  # one that runs already
        _run(["launchctl", "bootstrap", _domain(), plan.path], environ)

    def stop(self, plan: Plan, environ: Mapping[str, str]) -> None:
        _told(["launchctl", "bootout", f"{_domain()}/{LABEL}"], environ)

    def forget(self, environ: Mapping[str, str]) -> None:
        """Nothing is left."""


_SERVICES: dict[str, _Systemd | _Launchd] = {"systemd": _Systemd(), "launchd": _Launchd()}


def _domain() -> str:
    return f"gui/{os.getuid()}"


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    why = _told(argv, environ)
    if why is not None:
        raise DevSessionsError(f"{' '.join(argv)} failed: {why}", next="run it by hand to see more")


def _told(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """None if a program does what it is told; else its words."""
    try:
        done = subprocess.run(
            argv, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip() or f"exit {done.returncode}"
