"""Looks at this machine: what dev-sessions needs, what is damaged or left over, each finding with its remedy.

Reads only, apart from asking programs for their version. Each check stands for itself: one that cannot be made is a
finding, and the others go on.
"""

from __future__ import annotations

import os
import re
import shutil
import stat

from . import __version__, config, git, skills
from .backends import own_programs
from .errors import DevSessionsError
from .state.registry import Store
from .terminal.server import listener, mismatched, removed
from .terminal.tmux import Tmux
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from .backends.installed import Program

_TMUX = (3, 2)
# Less free space than this, and a busy session may fill the disk within a day. Bytes.
_FREE = 500_000_000

# What does not matter in a container whose commands run on a host.
_OF_THE_HOST = ("tmux", "agents", "store", "sessions", "state folder")


class Finding(NamedTuple):
    """What one check has found.

    Attributes:
        check: what was looked at.
        level: "ok", "note" (nothing has to be done), or "problem".
        text: what is so.
        remedy: what to do; None if it is fine.
    """

    check: str
    level: str
    text: str
    remedy: str | None = None


def examine(environ: Mapping[str, str], cwd: str, sessions: Callable[[], list[dict[str, Any]]]) -> list[Finding]:
    """Everything that was found, in the order in which a new machine is set up.

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
            text = f"cannot look at {error.filename or name}: {error.strerror}"
            found.append(Finding(name, "problem", text, "make it readable for you"))
    return found


def _tmux(environ: Mapping[str, str]) -> Iterator[Finding]:
    tmux = Tmux(environ)
    told = tmux.run("-V").strip()
    numbers = re.search(r"(\d+)\.(\d+)", told)
    if numbers and (int(numbers[1]), int(numbers[2])) < _TMUX:
        yield Finding("tmux", "problem", f"{told} is too old", "install tmux 3.2 or newer")
    else:
        yield Finding("tmux", "ok", f"{told} ({tmux.program})")
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
    # What a server leaves of its socket tells nothing: ask it.
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
    """True if logind is told to end a user's processes; the last word counts, drop-ins come after the file."""
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
            level = "note" if here else "problem"
            yield Finding(program.name, level, "not installed", program.install)
        else:
            yield from _agent(program, environ)


def _agent(program: Program, environ: Mapping[str, str]) -> Iterator[Finding]:
    path, told = str(program.path(environ)), program.version(environ)
    tried = f"tried with {program.oldest} to {program.newest}"
    if told is None:
        yield Finding(program.name, "problem", f"{path} does not tell its version", f"run {path} --version by hand")
    elif _numbers(told) < _numbers(program.oldest):
        yield Finding(program.name, "problem", f"{told} is too old ({path}; {tried})", program.install)
    elif _numbers(told) > _numbers(program.newest):
        yield Finding(program.name, "note", f"{told} is newer than was tried ({path}; {tried})", None)
    else:
        yield Finding(program.name, "ok", f"{told} ({path}; {tried})")
    for text, remedy in program.troubles(program.home(environ)):
        yield Finding(f"{program.name} settings", "problem", text, remedy)
    if program.logged_in(environ):
        yield Finding(f"{program.name} login", "ok", "there are signs of a login")
    else:
        remedy = f"run {program.name} once and log in"
        yield Finding(f"{program.name} login", "note", "no sign of a login (a key chain is not looked into)", remedy)


def _skills(environ: Mapping[str, str], cwd: str) -> Iterator[Finding]:
    for program in skills.programs_here(environ):
        for flag, project in (("--global", None), ("--local", git.project_of(cwd))):
            into = program.skills(environ, project)
            try:
                changes = list(skills.apply(program, into, __version__, skills.Wishes(dry=True), project))
            except DevSessionsError as error:  # what a project holds must not hide what the user has
                yield Finding(f"{program.name} skills", "problem", error.message, error.data.get("next"))
                continue
            acts = {change.skill: change.act for change in changes if change.act not in skills.AT_REST}
            if project and set(acts.values()) == {"installed"} and len(acts) == len(skills.names(program.name)):
                continue  # few projects have them
            yield from _compared(
                f"{program.name} skills", into, acts, f"dev-sessions install-skill {flag} --{program.name}"
            )


def _compared(check: str, into: str, acts: dict[str, str], command: str) -> Iterator[Finding]:
    """What is to be done to the skills of one folder.

    Args:
        acts: of those to which anything is to be done.
    """

    def those(*wanted: str) -> str:
        found = [(name, skills.version_of(os.path.join(into, name))) for name, act in acts.items() if act in wanted]
        return ", ".join(f"{name} ({told})" if told else name for name, told in sorted(found))

    if not acts:
        yield Finding(check, "ok", f"those of {__version__} in {into}")
    if those("updated", "removed"):
        yield Finding(check, "problem", f"of another version in {into}: {those('updated', 'removed')}", command)
    if those("installed"):
        yield Finding(check, "note", f"not in {into}: {those('installed')}", command)
    if those("kept", "foreign"):
        text = f"edited by hand, or not from dev-sessions, in {into}: {those('kept', 'foreign')}"
        yield Finding(check, "note", text, f"{command} --diff; with --force they are replaced, and a backup kept")


def _store(environ: Mapping[str, str]) -> Iterator[Finding]:
    said: list[str] = []
    store = Store(config.state_folder(environ), said.append)
    records = store.load()
    for text in said:
        yield Finding("store", "problem", text, "dev-sessions list, then the next create or kill repairs what it can")
    if not said:
        yield Finding("store", "ok", f"{len(records)} sessions in {store.path}")
    for key in sorted(set(_listed(store.sessions_folder)) - {record["key"] for record in records.values()}):
        text = f"{os.path.join(store.sessions_folder, key)} belongs to no session on record"
        yield Finding("store", "problem", text, "look into it, then remove it by hand")


def _sessions(environ: Mapping[str, str], listed: Callable[[], list[dict[str, Any]]]) -> Iterator[Finding]:
    """Records without agent, agents without record, worktrees and sockets that nobody uses."""
    known = listed()
    gone = [str(session["id"]) for session in known if session["status"] == "exited"]
    if gone:
        remedies = f"dev-sessions revive {gone[0]} to go on, or: dev-sessions kill {' '.join(gone)}"
        yield Finding("sessions", "problem", f"agents are gone: {', '.join(gone)}", remedies)
    records = Store(config.state_folder(environ)).load().values()
    ours = {record["key"] for record in records}
    yield from _left_worktrees(environ, known)
    for name, key in _terminals(environ):
        if key not in ours:
            text = f"tmux session {name} is of dev-sessions and on no record of this state folder"
            remedy = f"look at it (tmux attach -t ={name}), then: tmux kill-session -t ={name}"
            yield Finding("sessions", "note", text, remedy)
    for program in skills.programs_here(environ):
        path = program.stale_socket(environ)
        if path:
            text = f"{path} is a socket that nobody listens on; the next {program.name} session replaces it"
            yield Finding(f"{program.name} socket", "note", text)


def _terminals(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The tmux sessions that some dev-sessions has made, each with its key."""
    words = ("list-sessions", "-F", "#{session_name} #{@dev_sessions_key}")
    told = [line.rpartition(" ") for tmux in _servers(environ) for line in tmux.run(*words, check=False).splitlines()]
    return [(name, key) for name, _, key in told if key and name]


def _left_worktrees(environ: Mapping[str, str], listed: list[dict[str, Any]]) -> Iterator[Finding]:
    """What fan-outs have made for their branches (runs/<run>/worktrees/<branch>), if no session works in it."""
    in_use = [f"{session['path']}/" for session in listed if session["status"] != "exited"]
    runs = os.path.join(config.state_folder(environ), "runs")
    folders = [os.path.join(runs, run, "worktrees") for run in sorted(_listed(runs))]
    for path in (os.path.join(folder, name) for folder in folders for name in sorted(_listed(folder))):
        if not any(used.startswith(f"{path}/") for used in in_use):
            remedy = f"merge what you want of it, then: git -C {path} worktree remove {path}"
            yield Finding("worktrees", "note", f"{path} is left of a fan-out, and no session works in it", remedy)


def _folder(environ: Mapping[str, str]) -> Iterator[Finding]:
    home = config.state_folder(environ)
    if not os.path.exists(home):
        yield Finding("state folder", "ok", f"{home} is made by the first session")
        return
    mode = stat.S_IMODE(os.stat(home).st_mode)
    if mode & 0o077:
        yield Finding("state folder", "problem", f"{home} is open to others ({mode:04o})", f"chmod 700 {home}")
    elif not os.access(home, os.W_OK | os.X_OK):
        remedy = f"chmod 700 {home}; from a sandbox, run outside of it"
        yield Finding("state folder", "problem", f"{home} cannot be written", remedy)
    else:
        yield Finding("state folder", "ok", f"{home} is yours alone")


def _gateway(environ: Mapping[str, str]) -> Iterator[Finding]:
    far = config.gateway(environ)
    if far is None:
        yield Finding("gateway", "ok", "not asked for; commands use this machine")
        return
    from .transport.http import HttpTransport

    version = HttpTransport(far, None, 0, "/").health().get("version")
    yield Finding("gateway", "ok", f"{far.url} answers, version {version}; tmux, agents and sessions are its host's")
    if version != __version__:
        text = f"the gateway is version {version}, this is {__version__}"
        yield Finding("gateway", "note", text, "install the same version of dev-sessions on both sides")
    if far.host_path is None:
        text = f"the host does not know what {far.workspace} is called there: nothing can be created from here"
        yield Finding("gateway", "note", text, "set HOST_PATH to the host's folder that is mounted there")


def _disk(environ: Mapping[str, str]) -> Iterator[Finding]:
    place = config.state_folder(environ)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    text = f"{free // 1_000_000} MB free for {place}"
    if free < _FREE:
        yield Finding("disk", "problem", text, "free some space")
    else:
        yield Finding("disk", "ok", text)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
