"""The settings of one run, read from the environment. The only module that reads `os.environ`."""

from __future__ import annotations

import os

from .errors import HostUnreachable, UsageError
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUE = ("1", "true", "yes", "on")

# What an agent's shell says about that agent. A child that inherits it takes itself for a part of its parent.
_PARENT_MARKS = (
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_PROJECT_DIR",
    "CLAUDE_ENV_FILE",
    "CLAUDE_EFFORT",
    "CLAUDE_PID",
    "AI_AGENT",
    "CODEX_CI",
    "CODEX_THREAD_ID",
    "CODEX_SESSION_ID",
    "CODEX_SANDBOX",
    "CODEX_SANDBOX_NETWORK_DISABLED",
)
# The terminal that the caller sits in is not the one that the agent gets.
_TERMINAL_MARKS = (
    "TMUX",
    "TMUX_PANE",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "COLUMNS",
    "LINES",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
)


class Settings(NamedTuple):
    """Everything that the environment decides.

    Attributes:
        home: the state folder, absolute (`DEV_SESSIONS_HOME`, default `~/.dev-sessions`).
        environ: a copy of the caller's environment.
        cwd: the caller's working directory, absolute.
        parent: id of the session that this command runs in (`DEV_SESSIONS_ID`), or None.
        depth: how many sessions stand above a session created now (`DEV_SESSIONS_DEPTH`, 0 for a person).
        max_depth: the deepest allowed (`DEV_SESSIONS_MAX_DEPTH`, default 4).
        ready_timeout: seconds that an agent may take to be ready for input (`DEV_SESSIONS_READY_TIMEOUT`, 60).
        receipt_timeout: seconds to wait for an agent's receipt of a message (`DEV_SESSIONS_RECEIPT_TIMEOUT`, 30).
        debug: show tracebacks (`DEV_SESSIONS_DEBUG=1`).
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

    @property
    def sandboxed(self) -> bool:
        """True if the environment carries Claude's own mark of a sandbox (no proof of a container)."""
        return is_true(self.environ.get("IS_SANDBOX"))


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environ: the environment to read; default: this process's.

    Raises:
        UsageError: a variable has a value that it cannot have.
        HostUnreachable: gateway mode is asked for, and this version has no gateway client.
    """
    env = dict(os.environ if environ is None else environ)
    _refuse_gateway(env)
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
    )


def surroundings() -> tuple[dict[str, str], str]:
    """The environment and the working directory, for what concerns this machine and no session (no gateway either)."""
    return dict(os.environ), _working_directory()


def debug_wanted() -> bool:
    """True if errors are to be shown with their traceback, however broken the other settings are."""
    return is_true(os.environ.get("DEV_SESSIONS_DEBUG"))


def state_folder(env: Mapping[str, str]) -> str:
    """Absolute path of the state folder."""
    named = env.get("DEV_SESSIONS_HOME")
    return os.path.abspath(os.path.expanduser(named)) if named else os.path.join(user_home(env), ".dev-sessions")


def user_home(env: Mapping[str, str]) -> str:
    """The user's home folder: `HOME`, else what the system knows."""
    return env.get("HOME") or os.path.expanduser("~")


def agent_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what describes the caller's own agent, session and terminal.

    Names that no POSIX shell can export (exported bash functions, for instance) are left out.
    """
    dropped = {*_PARENT_MARKS, *_TERMINAL_MARKS}
    return {
        name: value for name, value in env.items() if name not in dropped and name.isascii() and name.isidentifier()
    }


def gateway_wanted(env: Mapping[str, str]) -> bool:
    """True if the environment asks that commands run on a host behind a gateway.

    `IS_SANDBOX` alone is Claude's own variable (it lets root skip permissions): no sign of a gateway.
    """
    switch = env.get("DEV_SESSIONS_SANDBOX")
    if switch is not None and switch != "":
        return is_true(switch)
    return is_true(env.get("IS_SANDBOX")) and bool(env.get("HOST_PATH") or env.get("DEV_SESSIONS_GATEWAY_URL"))


def _refuse_gateway(env: Mapping[str, str]) -> None:
    if gateway_wanted(env):
        raise HostUnreachable(
            "the environment asks for gateway mode, and this version has no gateway client",
            next="set DEV_SESSIONS_SANDBOX=0 to use the agents of this machine",
        )


def is_true(value: str | None) -> bool:
    """True for what people write for yes in a variable."""
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
