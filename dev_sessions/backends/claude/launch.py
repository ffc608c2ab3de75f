"""How a Claude session is started: the binary, its settings, its environment, and the script that the pane runs."""

from __future__ import annotations

import os
import shlex

from ... import config
from ...errors import LaunchFailed
from ...system import files, processes
from .. import programs
from . import container, hooks, questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..base import Launch, Session

_ELSEWHERE = "the folder to work in leads elsewhere since it was checked"
# What the shell says of itself: when it was started, and in which run of the system.
_STARTED = f"cat /proc/$$/stat 2>/dev/null || {processes.START_BY_PS}"
_BOOTED = "cat /proc/sys/kernel/random/boot_id 2>/dev/null"

# "default" is what newer versions call "manual"; 2.1.330 accepts both names, older ones only this.
_MODES = {"full": "bypassPermissions", "edit": "acceptEdits", "ask": "default", "plan": "plan"}

_VARIABLES = {
    "CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY": "1",
    # An arrow key in an empty input box opens a view of all agents, and moves the session to a process elsewhere.
    "CLAUDE_CODE_DISABLE_AGENT_VIEW": "1",
    # A screen reader's plain lines (a setting of the user's) have no input box that could be recognised.
    "CLAUDE_AX_SCREEN_READER": "0",
    # What was cut stays cut: a revived agent does nothing before it is told to.
    "CLAUDE_CODE_RESUME_INTERRUPTED_TURN": "0",
    # An old and long conversation is revived whole, without a question whether a summary would do (as it stands in
    # 2.1.330, which does not ask those who pay by an API key).
    "CLAUDE_CODE_RESUME_THRESHOLD_MINUTES": "100000000",
    "CLAUDE_CODE_RESUME_TOKEN_THRESHOLD": "1000000000",
}

# Claude without what a project brings along: it reads none of the project's settings (hooks, statusLine, environment,
# permissions), .mcp.json, CLAUDE.md, skills, agents and commands. In a folder that is not trusted Claude runs no hooks,
# ours included, and an answer to its dialog would be remembered for a person's own Claude too. The variable keeps it
# from asking (2.1.150 to 2.1.332).
_BARE_WORDS = ("--setting-sources", "user")
_BARE_VARIABLES = {"CLAUDE_CODE_SANDBOXED": "1"}
# What that is, as a user would look for it.
PROJECT = (".claude", ".mcp.json", "CLAUDE.md", "CLAUDE.local.md")

# Keys as of 2.1.330; older versions skip what they do not know.
_SETTINGS: dict[str, Any] = {
    "tui": "default",  # the classic renderer, and no offer of the other
    "editorMode": "normal",  # in vim mode a paste can be taken for commands
    "skipDangerousModePermissionPrompt": True,
    "useAutoModeDuringPlan": False,  # else a model decides, in plan mode, which commands run unasked
    "askUserQuestionTimeout": "never",
    "feedbackSurveyRate": 0,
    "feedbackDrafts": "off",
    "responseComparisonEnabled": False,
    "spinnerTipsEnabled": False,
    "promptSuggestionEnabled": False,
}


def binary(environ: Mapping[str, str]) -> str:
    """The absolute path of `claude`: `DEV_SESSIONS_CLAUDE`, else the first on PATH.

    Raises:
        LaunchFailed: there is none, or it cannot be run.
    """
    missing = LaunchFailed(
        "Claude Code is not installed: no claude on PATH",
        next="npm install -g @anthropic-ai/claude-code, or set DEV_SESSIONS_CLAUDE to its path",
    )
    return programs.find(environ, "claude", "DEV_SESSIONS_CLAUDE", missing)


def refuse_root(environ: Mapping[str, str], permissions: str) -> None:
    """Claude Code refuses to skip permissions as root unless IS_SANDBOX says that it may.

    Raises:
        LaunchFailed: it would refuse.
    """
    if permissions == "full" and os.geteuid() == 0 and not config.is_true(environ.get("IS_SANDBOX")):
        raise LaunchFailed(
            "Claude Code does not run with full permissions as root",
            next="set IS_SANDBOX=1 if this machine is a sandbox, or use --permissions edit",
        )


def config_folder(environment: Mapping[str, str], path: str) -> str:
    """Where a Claude that is started in the folder `path` keeps its state, as far as its environment says."""
    named = environment.get("CLAUDE_CONFIG_DIR")
    return os.path.join(path, named) if named else os.path.join(config.user_home(environment), ".claude")


def write_script(launch: Launch, program: str, conversation: Sequence[str], bare: bool) -> str:
    """Write the settings and the script that starts the agent on a `conversation` (words for Claude's command line).

    `bare`: without what the project brings along. Returns the script's path.

    The environment stands in the script (0600) and is exported there: the tmux server would hand its own first
    caller's environment to every session, and words of a command line can be read by everybody.
    """
    folder = launch.session.folder
    settings = os.path.join(folder.agent_path, "settings.json")
    os.makedirs(questions.pipes_path(folder), mode=0o700, exist_ok=True)
    files.write_json(settings, _settings(launch))
    hooks.forget_pane(folder.facts_path)
    argv = [program, *conversation, "--permission-mode", _MODES[launch.permissions], "--settings", settings]
    if launch.model:
        argv += ["--model", launch.model]
    if bare:
        argv += _BARE_WORDS
        launch = launch._replace(environment={**launch.environment, **_BARE_VARIABLES})
    script = _script_path(launch.session)
    files.write_whole(script, os.fsencode(_script(launch, argv)))
    return script


def _script_path(session: Session) -> str:
    return os.path.join(session.folder.agent_path, "start.sh")


def kept_environment(session: Session) -> dict[str, str] | None:
    """The environment that the agent was started with, which stands in its script alone; None if that is lost."""
    try:
        content = files.read(_script_path(session))
        words = shlex.split(os.fsdecode(content or b""))
    except (OSError, ValueError):
        return None
    if "export" not in words:
        return None
    found, exports = {}, words[words.index("export") :]
    for export, word in zip(exports[::2], exports[1::2], strict=False):
        if export != "export":
            break
        name, _, value = word.partition("=")
        found[name] = value
    return found


def binary_again(session: Session) -> str:
    """The `claude` to revive a session with: the one that the caller names, else the one that it was started with.

    Raises:
        LaunchFailed: there is none.
    """
    before = str(session.private.get("program") or "")
    named = session.environ.get(container.VARIABLE if session.contained else "DEV_SESSIONS_CLAUDE")
    return before if not named and os.access(before, os.X_OK) else binary_for(session)


def binary_for(session: Session) -> str:
    """What is started for a session: `claude`, or for one in a container `clauded`.

    Raises:
        LaunchFailed: there is none, or it cannot be run.
    """
    return (container.binary if session.contained else binary)(session.environ)


def _settings(launch: Launch) -> dict[str, Any]:
    folder = launch.session.folder
    # Messages that travel by file are read from our folder, which no mode but the full one would allow unasked.
    readable = [f"Read(/{folder.messages_path}/**)"]
    return {
        **_SETTINGS,
        # Unset, a usage limit is no end: what it has stopped runs on hours later (2.1.234 and newer).
        "autoContinueAtUsageLimit": launch.continue_at_reset,
        "hooks": hooks.settings(folder.facts_path, questions.pipes_path(folder)),
        "permissions": {"allow": readable, "disableAutoMode": "disable"},
    }


def _script(launch: Launch, argv: list[str]) -> str:
    environment = {**launch.environment, **_VARIABLES}
    if config.is_true(environment.get("IS_SANDBOX")):
        environment["IS_SANDBOX"] = "1"  # the only word for yes that Claude takes (2.1.330)
    process = shlex.quote(launch.session.folder.process_path)
    here = shlex.quote(launch.path + "\n.")
    mask = processes.file_mask()
    return "\n".join(
        [
            f"umask {mask:04o}",
            # Written by the very process that becomes the agent: there is no moment at which it runs unknown.
            f"(umask 077; {{ echo $$; {_STARTED}; {_BOOTED}; }} >{process}.tmp)",
            f"mv -f {process}.tmp {process}",
            *(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())),
            f"cd -- {shlex.quote(launch.path)} || exit 1",
            # A link may have been planted since the path was checked; this shell, and so the agent, is there by now.
            f'[ "$(pwd -P && echo .)" = {here} ] || {{ echo "{_ELSEWHERE}" >&2; exit 1; }}',
            f"exec {shlex.join(argv)}",
            "",
        ]
    )
