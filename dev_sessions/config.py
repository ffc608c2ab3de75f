"""The settings of one run, read from the environment. The only module that reads `os.environ`."""

from __future__ import annotations

import os

from .errors import UsageError
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

GATEWAY_PORT = 6767
_TRUE = ("1", "true", "yes", "on")

# Variables that describe the caller's own agent. A child that inherits them considers itself a part of its parent.
_PARENT_MARKS = frozenset(
    """
    CLAUDECODE CLAUDE_CODE_ENTRYPOINT CLAUDE_CODE_SESSION_ID CLAUDE_CODE_SSE_PORT CLAUDE_CODE_CHILD_SESSION
    CLAUDE_PROJECT_DIR CLAUDE_CODE_SANDBOXED CLAUDE_ENV_FILE CLAUDE_EFFORT CLAUDE_PID AI_AGENT
    CODEX_CI CODEX_THREAD_ID CODEX_SESSION_ID CODEX_SANDBOX CODEX_SANDBOX_NETWORK_DISABLED
    """.split()
)
# Variables that describe the caller's terminal.
_TERMINAL_MARKS = frozenset("TMUX TMUX_PANE TERM_PROGRAM TERM_PROGRAM_VERSION COLUMNS LINES PWD OLDPWD SHLVL _".split())
# Variables by which git tells its hooks and aliases the repository and commit that it works on (see githooks(5)). Those
# up to GIT_COMMON_DIR are named by `git rev-parse --local-env-vars` (2.39), as is GIT_CONFIG_COUNT; but people export
# that, with its keys and values, as settings for every repository. Identity, editor, GIT_SSH and
# GIT_CEILING_DIRECTORIES stay too: they hold for any repository.
_GIT_MARKS = frozenset(
    """
    GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_OBJECT_DIRECTORY GIT_DIR GIT_WORK_TREE
    GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE GIT_INDEX_FILE GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE GIT_PREFIX
    GIT_INTERNAL_SUPER_PREFIX GIT_SHALLOW_FILE GIT_COMMON_DIR GIT_NAMESPACE GIT_QUARANTINE_PATH
    GIT_AUTHOR_DATE GIT_COMMITTER_DATE GIT_REFLOG_ACTION GIT_PAGER_IN_USE
    """.split()
)


class Settings(NamedTuple):
    """Everything that the environment decides.

    Attributes:
        home: the state folder, absolute (`DEV_SESSIONS_HOME`, default `~/.dev-sessions`).
        environ: a copy of the caller's environment.
        cwd: the caller's working directory, absolute.
        parent: id of the session that this command runs in (`DEV_SESSIONS_ID`), or None.
        depth: how many sessions a session created now has above it (`DEV_SESSIONS_DEPTH`, 0 for a person).
        max_depth: the deepest allowed (`DEV_SESSIONS_MAX_DEPTH`, default 4).
        ready_timeout: seconds that an agent may take to get ready for input (`DEV_SESSIONS_READY_TIMEOUT`, 60).
        receipt_timeout: seconds to wait for an agent's receipt of a message (`DEV_SESSIONS_RECEIPT_TIMEOUT`, 30).
        debug: show tracebacks (`DEV_SESSIONS_DEBUG=1`).
        tmux: name of the tmux server for new sessions (`DEV_SESSIONS_TMUX`, as `tmux -L` takes it); None: the user's.
        root: the folder to which a remote caller has confined its sessions, or None.
        allowed: the folders, resolved, in which sessions of remote callers may work; None: the caller is local.
        all_sessions: whether remote callers may reach sessions in other folders too.
    """

    home: str
    environ: Mapping[str, str]
    cwd: str
    parent: str | None
    depth: int
    max_depth: int
    ready_timeout: float
    receipt_timeout: float
    debug: bool
    tmux: str | None = None
    root: str | None = None
    allowed: tuple[str, ...] | None = None
    all_sessions: bool = False

    @property
    def sandboxed(self) -> bool:
        """True if Claude's own variable says that this is a sandbox (it does not prove a container)."""
        return is_true(self.environ.get("IS_SANDBOX"))


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environ: the environment to read; default: this process's.

    Raises:
        UsageError: a variable has an invalid value.
    """
    env = dict(os.environ if environ is None else environ)
    tmux = env.get("DEV_SESSIONS_TMUX") or None
    if tmux is not None and ("/" in tmux or not tmux.isprintable() or tmux in (".", "..")):
        raise UsageError(
            f"DEV_SESSIONS_TMUX must be the name of a tmux server, not {tmux!r}",
            next="export DEV_SESSIONS_TMUX=dev-sessions, or unset it",
        )
    return Settings(
        home=state_folder(env),
        environ=env,
        cwd=_working_directory(),
        parent=env.get("DEV_SESSIONS_ID") or None,
        depth=_whole(env, "DEV_SESSIONS_DEPTH", 0),
        max_depth=_whole(env, "DEV_SESSIONS_MAX_DEPTH", 4),
        ready_timeout=_seconds(env, "DEV_SESSIONS_READY_TIMEOUT", 60.0),
        receipt_timeout=_seconds(env, "DEV_SESSIONS_RECEIPT_TIMEOUT", 30.0),
        debug=is_true(env.get("DEV_SESSIONS_DEBUG")),
        tmux=tmux,
    )


def surroundings() -> tuple[dict[str, str], str]:
    """The environment and the working directory, for commands that concern this machine only."""
    return dict(os.environ), _working_directory()


def debug_wanted() -> bool:
    """True if errors are to be shown with tracebacks; works even if other settings are invalid."""
    return is_true(os.environ.get("DEV_SESSIONS_DEBUG"))


def state_folder(env: Mapping[str, str]) -> str:
    """Absolute path of the state folder."""
    named = env.get("DEV_SESSIONS_HOME")
    return os.path.abspath(os.path.expanduser(named)) if named else os.path.join(user_home(env), ".dev-sessions")


def user_home(env: Mapping[str, str]) -> str:
    """The user's home folder: `HOME`, else what the system knows."""
    return env.get("HOME") or os.path.expanduser("~")


def agent_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without variables that describe its own agent, session, terminal and repository.

    Names that no POSIX shell can export (exported bash functions, for instance) are left out. The character set is
    always UTF-8, like that of the agent's terminal; the language stays, and so does everything on a system without
    UTF-8.
    """
    dropped = _PARENT_MARKS | _TERMINAL_MARKS | _GIT_MARKS
    kept = {
        name: value for name, value in env.items() if name not in dropped and name.isascii() and name.isidentifier()
    }
    everything = kept.get("LC_ALL")
    characters = everything or kept.get("LC_CTYPE") or kept.get("LANG") or ""
    if "UTF" in characters.upper() or not (utf8 := _utf8_locale()):
        return kept
    if everything:
        kept = {name: value for name, value in kept.items() if not name.startswith("LC_")} | {"LANG": everything}
    return kept | {"LC_CTYPE": utf8}


def _utf8_locale() -> str | None:
    import locale

    before = locale.setlocale(locale.LC_CTYPE, None)
    try:
        for name in ("C.UTF-8", "C.utf8", "UTF-8"):  # those that Python tries itself (PEP 538)
            try:
                return locale.setlocale(locale.LC_CTYPE, name) and name
            except locale.Error:
                continue
        return None
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def git_environment() -> dict[str, str]:
    """This process's environment, for a git that works on another repository than the caller's."""
    return {name: value for name, value in os.environ.items() if name not in _GIT_MARKS}


def gateway_wanted(env: Mapping[str, str]) -> bool:
    """True if the environment says that commands run on a host, through a gateway.

    `IS_SANDBOX` alone does not: it is Claude's own variable (it lets root skip permissions).
    """
    switch = env.get("DEV_SESSIONS_SANDBOX")
    if switch is not None and switch != "":
        return is_true(switch)
    return is_true(env.get("IS_SANDBOX")) and bool(env.get("HOST_PATH") or env.get("DEV_SESSIONS_GATEWAY_URL"))


class Gateway(NamedTuple):
    """The gateway that commands in a container use.

    Attributes:
        url: its URL (`DEV_SESSIONS_GATEWAY_URL`).
        address: the path of its socket, or its host and port.
        host: the value of the Host header.
        token: its token (`DEV_SESSIONS_GATEWAY_TOKEN`, or the content of `..._TOKEN_FILE`), or None.
        workspace: the container's folder that it shares with the host (`CONTAINER_WORKSPACE`).
        host_path: the same folder on the host (`HOST_PATH`), or None.
        patience: seconds to wait for a lost connection to come back (`DEV_SESSIONS_GATEWAY_PATIENCE`, 30).
    """

    url: str
    address: str | tuple[str, int]
    host: str
    token: str | None
    workspace: str
    host_path: str | None
    patience: float

    @property
    def start(self) -> str:
        """The command that starts the gateway on the host."""
        if isinstance(self.address, str):
            return f"dev-sessions gateway --socket PATH (the folder of PATH mounted at {os.path.dirname(self.address)})"
        return f"dev-sessions gateway --port {self.address[1]}"


def gateway(env: Mapping[str, str]) -> Gateway | None:
    """The gateway to use, or None if commands use this machine.

    Raises:
        UsageError: a variable has an invalid value.
    """
    return gateway_there(env) if gateway_wanted(env) else None


def gateway_there(env: Mapping[str, str]) -> Gateway:
    """The gateway that the variables describe, whether or not commands use it.

    Raises:
        UsageError: a variable has an invalid value.
    """
    url = env.get("DEV_SESSIONS_GATEWAY_URL") or f"http://host.docker.internal:{GATEWAY_PORT}"
    address, host = _address(url)
    host_path = env.get("HOST_PATH") or None
    if host_path and not os.path.isabs(host_path):
        raise UsageError(f"HOST_PATH must be absolute, not {host_path!r}", next="unset HOST_PATH")
    workspace = env.get("CONTAINER_WORKSPACE") or "/workspace"
    patience = _seconds(env, "DEV_SESSIONS_GATEWAY_PATIENCE", 30.0)
    return Gateway(url, address, host, _token(env), workspace, host_path, patience)


def gateway_port(env: Mapping[str, str]) -> int:
    """The default port of a gateway (`DEV_SESSIONS_GATEWAY_PORT`)."""
    return _whole(env, "DEV_SESSIONS_GATEWAY_PORT", GATEWAY_PORT)


def gateway_hosts(env: Mapping[str, str]) -> list[str]:
    """More names by which callers may call a gateway (`DEV_SESSIONS_GATEWAY_HOSTS`)."""
    return [name.strip() for name in env.get("DEV_SESSIONS_GATEWAY_HOSTS", "").split(",") if name.strip()]


def _address(url: str) -> tuple[str | tuple[str, int], str]:
    scheme, _, rest = url.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return rest, "localhost"
    host, colon, port = rest.rstrip("/").rpartition(":")
    if not colon or not port.isdecimal():
        host, port = rest.rstrip("/"), "80"
    plain = host.isascii() and host.isprintable() and not set(host) & set("/@?# ")
    if scheme != "http" or not host or not plain or not 0 < int(port) < 65_536:
        raise UsageError(
            f"DEV_SESSIONS_GATEWAY_URL must be http://HOST:PORT or unix:///PATH, not {url!r}",
            next="export DEV_SESSIONS_GATEWAY_URL=http://host.docker.internal:6767",
        )
    return (host.strip("[]"), int(port)), f"{host}:{port}"


def _token(env: Mapping[str, str]) -> str | None:
    token, path = env.get("DEV_SESSIONS_GATEWAY_TOKEN"), env.get("DEV_SESSIONS_GATEWAY_TOKEN_FILE")
    if not token and path:
        try:
            with open(path, encoding="utf-8") as file:
                token = file.read().strip()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot read the gateway's token in {path}: {error}", next="check DEV_SESSIONS_GATEWAY_TOKEN_FILE"
            ) from error
    if token and not (token.isascii() and token.isprintable()):
        raise UsageError("the gateway's token is not a line of plain text", next="check DEV_SESSIONS_GATEWAY_TOKEN")
    return token or None


def is_true(value: str | None) -> bool:
    """True for "1", "true", "yes" and "on"."""
    return (value or "").strip().lower() in _TRUE


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError("the current directory does not exist any more", next="cd to a folder that exists") from error


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name) or str(default)
    if not value.isdecimal():
        raise UsageError(f"{name} must be a whole number, not {value!r}", next=f"unset {name}")
    return int(value)


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(env.get(name) or default)
    except ValueError:
        value = -1.0
    if not 0 < value < 86_400:
        raise UsageError(f"{name} must be a number of seconds, not {env.get(name)!r}", next=f"unset {name}")
    return value
