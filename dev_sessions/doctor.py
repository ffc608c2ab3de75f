"""Checks of this machine, each with its remedy: what the package needs, what is damaged or left over.

Only reads, apart from asking programs for their version. A check that fails is itself a finding; the others go on.
"""

from __future__ import annotations

import os
import re
import shutil
import stat

from . import __version__, config, git, skills
from .backends import own_programs
from .backends.programs import version_numbers
from .errors import DevSessionsError
from .state.registry import Store
from .terminal.server import listener, mismatched, removed
from .terminal.tmux import Tmux
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any


_TMUX = (3, 2)
_FREE = 500_000_000  # bytes; with less, a busy session may fill the disk within a day
# These do not matter in a container whose commands run on a host.
_OF_THE_HOST = ("tmux", "agents", "store", "sessions", "state folder")


class Finding(NamedTuple):
    """What one check found. Its `level` is "ok", "note" (nothing has to be done) or "problem"."""

    check: str
    level: str
    text: str
    remedy: str | None = None


def examine(environ: Mapping[str, str], cwd: str, sessions: Callable[[], list[dict[str, Any]]]) -> list[Finding]:
    """The findings, in the order in which a new machine is set up.

    Args:
        sessions: lists the sessions, as `Client.list` does.
    """
    far = config.gateway_wanted(environ)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("tmux", lambda: _tmux(environ)),
        ("agents", lambda: _agents(environ)),
        ("skills", lambda: _skills(environ, cwd)),
        ("store", lambda: _store(environ)),
        ("sessions", lambda: _sessions(environ, sessions)),
        ("state folder", lambda: _folder(environ)),
        ("gateway", lambda: _gateway(environ)),
        ("disk", lambda: _disk(environ)),
    ]
    found = []
    for name, check in checks:
        if far and name in _OF_THE_HOST:
            continue
        try:
            found += list(check())
        except DevSessionsError as error:
            found.append(Finding(name, "problem", error.message, error.data.get("next")))
        except OSError as error:
            text = f"cannot read {error.filename or name}: {error.strerror}"
            found.append(Finding(name, "problem", text, "make it readable for you"))
    return found


def _tmux(environ: Mapping[str, str]) -> Iterator[Finding]:
    tmux = Tmux(environ)
    version = tmux.run("-V").strip()
    numbers = re.search(r"(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < _TMUX:
        yield Finding("tmux", "problem", f"{version} is too old", "install tmux 3.2 or newer")
    else:
        yield Finding("tmux", "ok", f"{version} ({tmux.program})")
    for one in _servers(environ):
        yield _server(one)
    if _kills_at_logout():
        remedy = "loginctl enable-linger, or KillUserProcesses=no in /etc/systemd/logind.conf"
        yield Finding("KillUserProcesses", "problem", "the system ends your sessions when you log out", remedy)
    else:
        yield Finding("KillUserProcesses", "ok", "sessions outlive your logout")


def _servers(environ: Mapping[str, str]) -> list[Tmux]:
    """The tmux server of new sessions, and those that sessions on record were started on."""
    records = Store(config.state_folder(environ)).load().values()
    private = [record.get("backend") or {} for record in records]
    sockets = {str(one["socket"]) for one in private if one.get("socket") and one.get("pane")}
    return [Tmux(environ), *(Tmux(environ, path) for path in sorted(sockets - {Tmux(environ).expected_socket()}))]


def _server(tmux: Tmux) -> Finding:
    path, pid = tmux.expected_socket(), listener(tmux)
    # A socket may be left by a server that has ended.
    answers = bool(tmux.run("list-sessions", check=False))
    gone, other = removed(tmux, pid), mismatched(tmux, pid)
    if why := gone or other:
        return Finding("tmux server", "problem" if gone or not answers else "note", why.message, why.data["next"])
    if not answers:
        return Finding("tmux server", "ok", f"none runs on {path}; the first session starts one")
    shared = os.path.basename(path) == "default"
    hint = "; sessions end with it (export DEV_SESSIONS_TMUX=dev-sessions gives new ones a server of their own)"
    return Finding("tmux server", "ok", f"answers on {path}{hint if shared else ''}")


def _kills_at_logout(root: str = "/etc/systemd") -> bool:
    """True if logind is set to end a user's processes. The last setting counts; drop-ins come after the file."""
    places = [os.path.join(root, "logind.conf")]
    folder = os.path.join(root, "logind.conf.d")
    if os.path.isdir(folder):
        places += [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".conf")]
    word = "no"
    for place in places:
        if os.path.isfile(place):
            with open(place, encoding="utf-8", errors="replace") as file:
                word = (re.findall(r"^\s*KillUserProcesses\s*=\s*(\S+)", file.read(), re.MULTILINE) or [word])[-1]
    return config.is_true(word)


def _agents(environ: Mapping[str, str]) -> Iterator[Finding]:
    here = skills.programs_here(environ)
    for program in own_programs():
        if program not in here:
            yield Finding(program.name, "note" if here else "problem", "not installed", program.install)
            continue
        path, version = str(program.path(environ)), program.version(environ)
        tested = (
            f"tested with {program.oldest} to {program.newest}, the releases of the 120 days before this dev-sessions"
        )
        if version is None:
            remedy = f"run {path} --version yourself"
            yield Finding(program.name, "problem", f"{path} does not print its version", remedy)
        elif program.is_too_old(version):
            yield Finding(program.name, "problem", f"{version} is too old ({path}; {tested})", program.install)
        elif version_numbers(version) > version_numbers(program.newest):
            yield Finding(program.name, "note", f"{version} is newer than the tested versions ({path}; {tested})")
        else:
            yield Finding(program.name, "ok", f"{version} ({path}; {tested})")
        for text, remedy in program.troubles(program.home(environ)):
            yield Finding(f"{program.name} settings", "problem", text, remedy)
        if program.logged_in(environ):
            yield Finding(f"{program.name} login", "ok", "there are signs of a login")
        else:
            text, remedy = "no sign of a login (key chains are not checked)", f"run {program.name} once and log in"
            yield Finding(f"{program.name} login", "note", text, remedy)


def _skills(environ: Mapping[str, str], cwd: str) -> Iterator[Finding]:
    for program in skills.programs_here(environ):
        for flag, project in (("--global", None), ("--local", git.project_of(cwd))):
            check, into = f"{program.name} skills", program.skills(environ, project)
            try:
                changes = list(skills.apply(program, into, __version__, skills.Wishes(dry=True), project))
            except DevSessionsError as error:  # a problem in the project must not hide the user's skills
                yield Finding(check, "problem", error.message, error.data.get("next"))
                continue
            acts = {change.skill: change.act for change in changes if change.act not in skills.AT_REST}
            if project and set(acts.values()) == {"installed"} and len(acts) == len(skills.names(program.name)):
                continue  # few projects have them
            if not acts:
                yield Finding(check, "ok", f"those of {__version__} in {into}")
            command = f"dev-sessions install-skill {flag} --{program.name}"
            if found := _versions(into, acts, "updated", "removed"):
                yield Finding(check, "problem", f"of another version in {into}: {found}", command)
            if found := _versions(into, acts, "installed"):
                yield Finding(check, "note", f"not in {into}: {found}", command)
            if found := _versions(into, acts, "kept", "foreign"):
                text = f"edited, or not from dev-sessions, in {into}: {found}"
                yield Finding(check, "note", text, f"{command} --diff; --force replaces them and keeps a backup")


def _versions(into: str, acts: dict[str, str], *wanted: str) -> str:
    """The skills that need one of the wanted acts, each with the version that is installed."""
    found = [(name, skills.version_of(os.path.join(into, name))) for name, act in acts.items() if act in wanted]
    return ", ".join(f"{name} ({version})" if version else name for name, version in sorted(found))


def _store(environ: Mapping[str, str]) -> Iterator[Finding]:
    notes: list[str] = []
    store = Store(config.state_folder(environ), notes.append)
    records = store.load()
    for text in notes:
        yield Finding("store", "problem", text, "dev-sessions list, then the next create or kill repairs what it can")
    if not notes:
        yield Finding("store", "ok", f"{len(records)} sessions in {store.path}")
    for key in sorted(set(_listed(store.sessions_folder)) - {record["key"] for record in records.values()}):
        text = f"{os.path.join(store.sessions_folder, key)} belongs to no session on record"
        yield Finding("store", "problem", text, "check what it holds, then remove it")


def _sessions(environ: Mapping[str, str], listed: Callable[[], list[dict[str, Any]]]) -> Iterator[Finding]:
    """Records without an agent, agents without a record, and unused worktrees and sockets."""
    known = listed()
    gone = [str(session["id"]) for session in known if session["status"] == "exited"]
    if gone:
        remedy = f"dev-sessions revive {gone[0]} to go on, or: dev-sessions kill {' '.join(gone)}"
        yield Finding("sessions", "problem", f"these agents have exited: {', '.join(gone)}", remedy)
    yield from _worktrees(environ, known)
    keys = {record["key"] for record in Store(config.state_folder(environ)).load().values()}
    for tmux in _servers(environ):
        for line in tmux.run("list-sessions", "-F", "#{session_name} #{@dev_sessions_key}", check=False).splitlines():
            name, _, key = line.rpartition(" ")
            if name and key and key not in keys:
                text = f"the tmux session {name} is from dev-sessions, but not on record in this state folder"
                remedy = f"look at it (tmux attach -t ={name}), then: tmux kill-session -t ={name}"
                yield Finding("sessions", "note", text, remedy)
    for program in skills.programs_here(environ):
        if path := program.stale_socket(environ):
            text = f"nothing listens on the socket {path}; the next {program.name} session replaces it"
            yield Finding(f"{program.name} socket", "note", text)


def _worktrees(environ: Mapping[str, str], listed: list[dict[str, Any]]) -> Iterator[Finding]:
    """Worktrees that a fan-out made (runs/<run>/worktrees/<branch>) and in which no session works."""
    in_use = [f"{session['path']}/" for session in listed if session["status"] != "exited"]
    runs = os.path.join(config.state_folder(environ), "runs")
    folders = [os.path.join(runs, run, "worktrees") for run in sorted(_listed(runs))]
    for path in (os.path.join(folder, name) for folder in folders for name in sorted(_listed(folder))):
        if not any(used.startswith(f"{path}/") for used in in_use):
            remedy = f"merge what you want to keep, then: git -C {path} worktree remove {path}"
            yield Finding("worktrees", "note", f"{path} is left from a fan-out, and no session works in it", remedy)


def _folder(environ: Mapping[str, str]) -> Iterator[Finding]:
    home = config.state_folder(environ)
    if not os.path.exists(home):
        yield Finding("state folder", "ok", f"the first session creates {home}")
        return
    mode = stat.S_IMODE(os.stat(home).st_mode)
    if mode & 0o077:
        yield Finding("state folder", "problem", f"{home} is open to others ({mode:04o})", f"chmod 700 {home}")
    elif not os.access(home, os.W_OK | os.X_OK):
        remedy = f"chmod 700 {home}; in a sandbox, run this outside"
        yield Finding("state folder", "problem", f"{home} is not writable", remedy)
    else:
        yield Finding("state folder", "ok", f"only you can open {home}")


def _gateway(environ: Mapping[str, str]) -> Iterator[Finding]:
    far = config.gateway(environ)
    if far is None:
        yield Finding("gateway", "ok", "not configured; commands use this machine")
        return
    from .transport.http import HttpTransport

    version = HttpTransport(far, None, 0, "/").health().get("version")
    yield Finding("gateway", "ok", f"{far.url} answers, version {version}; tmux, agents and sessions are its host's")
    if version != __version__:
        text = f"the gateway is version {version}, this is {__version__}"
        yield Finding("gateway", "note", text, "install the same version of dev-sessions on both sides")
    if far.host_path is None:
        text = f"nothing can be created from here: the host does not know its own path of {far.workspace}"
        yield Finding("gateway", "note", text, "set HOST_PATH to the host's folder that is mounted there")


def _disk(environ: Mapping[str, str]) -> Iterator[Finding]:
    place = config.state_folder(environ)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    text, is_low = f"{free // 1_000_000} MB free for {place}", free < _FREE
    yield Finding("disk", "problem" if is_low else "ok", text, "free some space" if is_low else None)


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
