"""`gateway`: serve this machine's sessions to agents in containers; and what there is to know of the one that runs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from typing import Annotated, Any

import typer

from .. import config
from ..errors import DevSessionsError, HostUnreachable, UsageError
from .options import Json
from .output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config import Settings

Port = Annotated[
    int | None,
    typer.Option("--port", help="Listen on this port of 127.0.0.1 and ::1 [default: 6767].", show_default=False),
]
Socket = Annotated[
    str | None,
    typer.Option("--socket", metavar="PATH", help="Listen on a unix socket, to mount into containers (Linux)."),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="FOLDER",
        help="Let agents work, and callers reach sessions, below this folder [default: your home folder].",
    ),
]
AllSessions = Annotated[
    bool, typer.Option("--all-sessions", help="Let callers reach your sessions in all other folders too.")
]

gateway = typer.Typer(help="Let agents in containers use this machine's sessions.", invoke_without_command=True)


@gateway.callback()
def serve(
    context: typer.Context,
    port: Port = None,
    socket: Socket = None,
    allow: Allow = None,
    all_sessions: AllSessions = False,
) -> int:
    """Let agents in containers use this machine's sessions.

    Serves until it is ended. Callers over TCP need the token that it names at its start.
    """
    if context.invoked_subcommand is not None:
        return 0
    out = Output()
    return out.guard(lambda: _serve(out, port, socket, allow, all_sessions))


def _serve(out: Output, port: int | None, socket: str | None, allow: list[str] | None, all_sessions: bool) -> int:
    from .. import app
    from ..gateway import addresses, state_files

    settings = config.load()
    served = app.gateway(settings, _allowed(settings, allow), out.log, all_sessions)
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


def _allowed(settings: Settings, allow: list[str] | None) -> list[str]:
    folders = [os.path.realpath(os.path.expanduser(folder)) for folder in allow or ()]
    for folder in folders:
        if not os.path.isdir(folder):
            raise UsageError(f"there is no folder {folder}", next=f"mkdir -p {shlex.quote(folder)}")
    return folders or [os.path.realpath(config.user_home(settings.environ))]


@gateway.command()
def install(
    port: Port = None,
    socket: Socket = None,
    allow: Allow = None,
    all_sessions: AllSessions = False,
    json: Json = False,
) -> int:
    """Have a gateway run from now on, also after a restart (systemd of the user, or launchd)."""
    out = Output(json=json)
    return out.guard(lambda: _install(out, port, socket, allow, all_sessions))


def _install(out: Output, port: int | None, socket: str | None, allow: list[str] | None, all_sessions: bool) -> int:
    from ..gateway import state_files, unit

    environ, _ = config.surroundings()
    settings = config.load({**environ, "DEV_SESSIONS_SANDBOX": "0"})
    words = [word for folder in _allowed(settings, allow) for word in ("--allow", folder)]
    words += ["--all-sessions"] if all_sessions else []
    if socket:
        words += ["--socket", os.path.abspath(os.path.expanduser(socket))]
    if port is not None or not socket:
        words += ["--port", str(config.gateway_port(environ) if port is None else port)]
    planned = unit.plan(environ, sys.platform, sys.executable, settings.home, words)
    state_files.token(settings.home)
    unit.install(planned, environ)
    out.result({"kind": planned.kind, "path": planned.path}, f"Installed {planned.path}; it runs")
    if planned.kind == "launchd":
        binary = os.path.realpath(planned.python)
        out.note(
            f"grant Full Disk Access to {binary} (System Settings, Privacy & Security), or agents see no Documents"
        )
    out.note("what a container needs: dev-sessions gateway status")
    return 0


@gateway.command()
def uninstall(json: Json = False) -> int:
    """End the gateway that was installed; the agents go on."""
    out = Output(json=json)

    def act() -> int:
        from ..gateway import unit

        environ, _ = config.surroundings()
        planned = unit.plan(environ, sys.platform, sys.executable, config.state_folder(environ), [])
        removed = unit.uninstall(planned, environ)
        said = f"Removed {planned.path}" if removed else f"There is no {planned.path}"
        out.result({"path": planned.path, "removed": removed}, said)
        return 0

    return out.guard(act)


@gateway.command()
def status(socket: Socket = None, port: Port = None, json: Json = False) -> int:
    """Ask the gateway that runs, and print what a container needs to use it; exit 1 if none does."""
    out = Output(json=json)
    return out.guard(lambda: _status(out, socket, port))


def _status(out: Output, socket: str | None, port: int | None) -> int:
    from ..gateway import state_files

    environ, _ = config.surroundings()
    home = config.state_folder(environ)
    noted = [f"unix://{os.path.abspath(socket)}"] if socket else [f"http://127.0.0.1:{port}"] if port else None
    asked = noted or state_files.noted_urls(home) or [f"http://127.0.0.1:{config.gateway_port(environ)}"]
    token = state_files.token_path(home)
    found, error = _asked(asked, token)
    if found is None:
        out.result({"running": False, "asked": asked}, f"not running: {error}")
        return 1
    flags = {url: container_flags(url, token) for url in found["addresses"] if "[::1]" not in url}
    value = {"running": True, **found, "token_file": token, "docker_run": flags}
    out.result(value, _shown(value))
    return 0


def _asked(urls: list[str], token: str) -> tuple[dict[str, Any] | None, DevSessionsError | None]:
    """What the first gateway that answers says; else why the last one did not."""
    from ..transport.http import HttpTransport

    error: DevSessionsError | None = None
    env = {"DEV_SESSIONS_GATEWAY_TOKEN_FILE": token} if os.path.exists(token) else {}
    for url in urls:
        try:
            far = config.gateway_there({**env, "DEV_SESSIONS_GATEWAY_URL": url})
            return HttpTransport(far, None, 0, "/").health(), None
        except DevSessionsError as one:
            error = one
    return None, error or HostUnreachable("nobody answers")


def container_flags(url: str, token: str) -> list[str]:
    """The words of `docker run` that let a container use the gateway at `url` for the folder that stands for `$PWD`."""
    workspace = ["-v", "$PWD:/workspace", "-w", "/workspace", "-e", "HOST_PATH=$PWD", "-e", "DEV_SESSIONS_SANDBOX=1"]
    if url.startswith("unix://"):
        folder, name = os.path.split(url.removeprefix("unix://"))
        there = f"unix:///run/dev-sessions/{name}"
        return [*workspace, "-v", f"{folder}:/run/dev-sessions", "-e", f"DEV_SESSIONS_GATEWAY_URL={there}"]
    there, inside = f"http://host.docker.internal:{url.rpartition(':')[2]}", "/run/dev-sessions-token"
    mounted = ["-v", f"{token}:{inside}:ro", "-e", f"DEV_SESSIONS_GATEWAY_TOKEN_FILE={inside}"]
    return [*workspace, "-e", f"DEV_SESSIONS_GATEWAY_URL={there}", *mounted]


def _shown(value: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value["since"]))
    lines = [f"running: version {value['version']}, pid {value['pid']}, since {since}"]
    for url, flags in value["docker_run"].items():
        lines += [f"{url}", f"  docker run {' '.join(_quoted(word) for word in flags)} ..."]
    return "\n".join(lines)


def _quoted(word: str) -> str:
    """A word for a shell that is to fill in $PWD."""
    return f'"{word}"' if "$PWD" in word else shlex.quote(word)
