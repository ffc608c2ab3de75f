"""The commands that serve this machine's sessions to agents in containers."""

from __future__ import annotations

import os
import shlex
import signal
import sys

from .. import config
from ..errors import DevSessionsError, HostUnreachable, UsageError
from .render import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from . import options as opt
    from .output import Output


def serve(
    out: Output,
    context: opt.Context,
    port: opt.Port = None,
    socket: opt.Socket = None,
    allow: opt.AllowFolder = None,
    all_sessions: opt.AllFolders = False,
) -> int:
    """Let agents in containers use this machine's sessions.

    It runs until it is stopped. Callers over TCP need the token in the file that it names when it starts.
    """
    if context.invoked_subcommand is not None:
        return 0
    from .. import app
    from ..gateway import addresses, state_files

    settings = config.load()
    served = app.gateway(settings, _allowed(settings.environ, allow), out.log, all_sessions)
    urls = [addresses.listen_on_socket(served, socket)] if socket else []
    if port is not None or not socket:
        port = config.gateway_port(settings.environ) if port is None else port
        urls += addresses.listen_on_port(served, port, settings.home)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: served.stop())
    for url in urls:
        out.note(f"listening on {url}")
    out.note(f"callers over TCP need the token in {state_files.token_path(settings.home)}")
    with state_files.noted(settings.home, urls):
        served.serve()
    return 0


def _allowed(environ: Mapping[str, str], allow: list[str] | None) -> list[str]:
    folders = [os.path.realpath(os.path.expanduser(folder)) for folder in allow or ()]
    for folder in folders:
        if not os.path.isdir(folder):
            raise UsageError(f"there is no folder {folder}", next=f"mkdir -p {shlex.quote(folder)}")
    return folders or [os.path.realpath(config.user_home(environ))]


def install(
    out: Output,
    port: opt.Port = None,
    socket: opt.Socket = None,
    allow: opt.AllowFolder = None,
    all_sessions: opt.AllFolders = False,
) -> int:
    """Install a gateway that keeps running, also after a reboot (as a systemd user service, or with launchd)."""
    from ..gateway import state_files, unit

    environ, _ = config.surroundings()
    home = config.load({**environ, "DEV_SESSIONS_SANDBOX": "0"}).home
    words = [word for folder in _allowed(environ, allow) for word in ("--allow", folder)]
    words += ["--all-sessions"] if all_sessions else []
    if socket:
        words += ["--socket", os.path.abspath(os.path.expanduser(socket))]
    if port is not None or not socket:
        words += ["--port", str(config.gateway_port(environ) if port is None else port)]
    planned = unit.plan(environ, sys.platform, sys.executable, home, words)
    state_files.token(home)
    unit.install(planned, environ)
    out.result({"kind": planned.kind, "path": planned.path}, f"Installed {planned.path}; it is running")
    if planned.kind == "launchd":
        binary = os.path.realpath(planned.python)
        out.note(
            f"grant Full Disk Access to {binary} (System Settings, Privacy & Security), or agents cannot read Documents"
        )
    out.note("to see what a container needs: dev-sessions gateway status")
    return 0


def uninstall(out: Output) -> int:
    """End the installed gateway; the agents go on."""
    from ..gateway import unit

    environ, _ = config.surroundings()
    planned = unit.plan(environ, sys.platform, sys.executable, config.state_folder(environ), [])
    removed = unit.uninstall(planned, environ)
    text = f"Removed {planned.path}" if removed else f"There is no {planned.path}"
    out.result({"path": planned.path, "removed": removed}, text)
    return 0


def status(out: Output, socket: opt.Socket = None, port: opt.Port = None) -> int:
    """Print what a container needs to use the running gateway; exit 1 if none runs."""
    from ..gateway import state_files

    environ, _ = config.surroundings()
    home = config.state_folder(environ)
    named = [f"unix://{os.path.abspath(socket)}"] if socket else [f"http://127.0.0.1:{port}"] if port else None
    asked = named or state_files.noted_urls(home) or [f"http://127.0.0.1:{config.gateway_port(environ)}"]
    token = state_files.token_path(home)
    try:
        found = _health(asked, token)
    except DevSessionsError as error:
        out.result({"running": False, "asked": asked}, f"not running: {error}")
        return 1
    flags = {url: container_flags(url, token) for url in found["addresses"] if "[::1]" not in url}
    lines = [f"running: version {found['version']}, pid {found['pid']}, since {moment(found['since'])}"]
    for url, words in flags.items():
        # The shell must expand $PWD.
        quoted = (f'"{word}"' if "$PWD" in word else shlex.quote(word) for word in words)
        lines += [url, f"  docker run {' '.join(quoted)} ..."]
    out.result({"running": True, **found, "token_file": token, "docker_run": flags}, "\n".join(lines))
    return 0


def _health(urls: list[str], token: str) -> dict[str, Any]:
    """The health report of the first gateway that answers; if none does, raises the last error."""
    from ..transport.http import HttpTransport

    problem: DevSessionsError = HostUnreachable("no gateway answers")
    env = {"DEV_SESSIONS_GATEWAY_TOKEN_FILE": token} if os.path.exists(token) else {}
    for url in urls:
        try:
            far = config.gateway_there({**env, "DEV_SESSIONS_GATEWAY_URL": url})
            return HttpTransport(far, None, 0, "/").health()
        except DevSessionsError as error:
            problem = error
    raise problem


def container_flags(url: str, token: str) -> list[str]:
    """The options of `docker run` with which a container, with `$PWD` mounted, can use the gateway at `url`."""
    workspace = ["-v", "$PWD:/workspace", "-w", "/workspace", "-e", "HOST_PATH=$PWD", "-e", "DEV_SESSIONS_SANDBOX=1"]
    if url.startswith("unix://"):
        folder, name = os.path.split(url.removeprefix("unix://"))
        there = f"unix:///run/dev-sessions/{name}"
        return [*workspace, "-v", f"{folder}:/run/dev-sessions", "-e", f"DEV_SESSIONS_GATEWAY_URL={there}"]
    there, inside = f"http://host.docker.internal:{url.rpartition(':')[2]}", "/run/dev-sessions-token"
    mounted = ["-v", f"{token}:{inside}:ro", "-e", f"DEV_SESSIONS_GATEWAY_TOKEN_FILE={inside}"]
    return [*workspace, "-e", f"DEV_SESSIONS_GATEWAY_URL={there}", *mounted]
