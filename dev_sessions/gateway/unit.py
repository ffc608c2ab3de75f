"""The gateway as a user service: a systemd user unit on Linux, a launchd agent on macOS."""

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
_SYSTEMCTL = ["systemctl", "--user"]
_SECONDS = 30.0
# The variables that agents and commands need. No API keys or tokens: other users may be able to read the unit's file,
# and agents keep their own logins.
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
    """A unit to install.

    Attributes:
        kind: "systemd" or "launchd".
        path, content: the path and the content of the unit's file.
        python: absolute path of the interpreter that runs the gateway.
    """

    kind: str
    path: str
    content: bytes
    python: str


def plan(environ: Mapping[str, str], platform: str, python: str, home: str, arguments: Sequence[str]) -> Plan:
    """The unit for `install` and `uninstall`.

    Args:
        platform: the value of `sys.platform`.
        python: the interpreter that has this package.
        home: the state folder.
        arguments: of `dev-sessions gateway`.
    """
    argv = [python, "-m", "dev_sessions", "gateway", *arguments]
    kept = {name: environ[name] for name in _KEPT if environ.get(name)} | {"DEV_SESSIONS_HOME": home}
    user = environ.get("HOME") or os.path.expanduser("~")
    if platform == "darwin":
        import plistlib

        log = os.path.join(home, "gateway", "log")
        agent = {
            "Label": LABEL,
            "ProgramArguments": argv,
            "EnvironmentVariables": kept,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            # Otherwise launchd ends the agents' tmux server and the couriers together with the gateway.
            "AbandonProcessGroup": True,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
        path = os.path.join(user, "Library", "LaunchAgents", f"{LABEL}.plist")
        return Plan("launchd", path, plistlib.dumps(agent), python)
    folder = environ.get("XDG_CONFIG_HOME") or os.path.join(user, ".config")
    variables = [f"Environment={_quoted(f'{name}={value}', variables=False)}" for name, value in sorted(kept.items())]
    command = " ".join(_quoted(word) for word in argv)
    content = _SYSTEMD.format(command=command, environment="\n".join(variables))
    return Plan("systemd", os.path.join(folder, "systemd", "user", UNIT), content.encode(), python)


def _quoted(word: str, variables: bool = True) -> str:
    """A word in systemd's syntax (systemd.syntax(7), systemd.service(5)); `variables`: systemd replaces $NAME there."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{escaped.replace("$", "$$") if variables else escaped}"'


def install(plan: Plan, environ: Mapping[str, str]) -> None:
    """Write the unit's file and start the service; replaces one that was installed before.

    Raises:
        DevSessionsError: it does not start; the previous file is restored.
    """
    if plan.kind == "systemd" and _failure([*_SYSTEMCTL, "show-environment"], environ) is not None:
        raise DevSessionsError(
            "there is no systemd user session here (a server without a login, a container)",
            next="sudo loginctl enable-linger $USER and log in again, with XDG_RUNTIME_DIR=/run/user/$(id -u); "
            "or run it yourself: tmux new-session -d dev-sessions gateway",
        )
    if plan.kind == "launchd" and _failure(["launchctl", "print", _domain()], environ) is not None:
        raise DevSessionsError(
            "there is no launchd session here (no user is logged in at the screen)",
            next="log in at the screen, or run it yourself: dev-sessions gateway",
        )
    before = files.read(plan.path)
    os.makedirs(os.path.dirname(plan.path), exist_ok=True)
    files.write_whole(plan.path, plan.content)
    try:
        if plan.kind == "systemd":
            for words in (["daemon-reload"], ["enable", UNIT], ["restart", UNIT]):
                _run([*_SYSTEMCTL, *words], environ)
        else:
            _failure(["launchctl", "bootout", f"{_domain()}/{LABEL}"], environ)  # stop a running one
            _run(["launchctl", "bootstrap", _domain(), plan.path], environ)
    except BaseException:
        if before is None:
            files.remove(plan.path)
        else:
            files.write_whole(plan.path, before)
        raise


def uninstall(plan: Plan, environ: Mapping[str, str]) -> bool:
    """Stop the service and remove its unit; False if there was none.

    Raises:
        DevSessionsError: it cannot be stopped.
    """
    if not os.path.exists(plan.path):
        return False
    if plan.kind == "systemd":
        _run([*_SYSTEMCTL, "disable", "--now", UNIT], environ)
        files.remove(plan.path)
        _failure([*_SYSTEMCTL, "daemon-reload"], environ)
    else:
        _failure(["launchctl", "bootout", f"{_domain()}/{LABEL}"], environ)
        files.remove(plan.path)
    return True


def _domain() -> str:
    return f"gui/{os.getuid()}"


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    why = _failure(argv, environ)
    if why is not None:
        raise DevSessionsError(f"{' '.join(argv)} failed: {why}", next="run it by hand to see more")


def _failure(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Run a program. Returns its error; None if it succeeded."""
    try:
        done = subprocess.run(
            argv, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip() or f"exit {done.returncode}"
