"""The program, settings, environment and start script of a Claude session."""

from __future__ import annotations

import os
import shlex

from ... import config
from ...errors import LaunchFailed
from ...system import files, processes
from .. import programs
from . import container, hooks, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..base import Launch, Session

_VARIABLE = "DEV_SESSIONS_CLAUDE"
_ELSEWHERE = "the folder to work in leads elsewhere since it was checked"
# The shell's start time and the machine's boot.
_STARTED = f"cat /proc/$$/stat 2>/dev/null || {processes.START_BY_PS}"
_BOOTED = "cat /proc/sys/kernel/random/boot_id 2>/dev/null"

# Newer versions call "default" "manual"; 2.1.330 accepts both names, older ones only this one.
_MODES = {"full": "bypassPermissions", "edit": "acceptEdits", "ask": "default", "plan": "plan"}

_VARIABLES = {
    "CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY": "1",
    # An arrow key in an empty input box opens a view of all agents, and moves the session to another process.
    "CLAUDE_CODE_DISABLE_AGENT_VIEW": "1",
    # The plain lines for a screen reader (a user's setting) have no recognisable input box.
    "CLAUDE_AX_SCREEN_READER": "0",
    # A revived agent does not continue an interrupted turn automatically.
    "CLAUDE_CODE_RESUME_INTERRUPTED_TURN": "0",
    # Revive an old and long conversation as a whole, without the question whether a summary is enough (2.1.330, which
    # does not ask users who pay with an API key).
    "CLAUDE_CODE_RESUME_THRESHOLD_MINUTES": "100000000",
    "CLAUDE_CODE_RESUME_TOKEN_THRESHOLD": "1000000000",
}

# Claude without the project's own files: it reads none of the project's settings (hooks, statusLine, environment,
# permissions), .mcp.json, CLAUDE.md, skills, agents and commands. In a folder that is not trusted, Claude runs no
# hooks, not even ours, and an answer to its dialog would also apply to a person's own Claude. The variable prevents
# that question (2.1.221 to 2.1.332).
_BARE_WORDS = ("--setting-sources", "user")
_BARE_VARIABLES = {"CLAUDE_CODE_SANDBOXED": "1"}
# The names of these files and folders in a project.
PROJECT = (".claude", ".mcp.json", "CLAUDE.md", "CLAUDE.local.md")

# Keys as of 2.1.330; older versions skip unknown keys.
_SETTINGS: dict[str, Any] = {
    "tui": "default",  # the classic renderer, without the offer to try the other one
    "editorMode": "normal",  # in vim mode Claude may read a paste as commands
    "skipDangerousModePermissionPrompt": True,
    "useAutoModeDuringPlan": False,  # otherwise a model decides, in plan mode, which commands run without asking
    "askUserQuestionTimeout": "never",
    "feedbackSurveyRate": 0,
    "feedbackDrafts": "off",
    "responseComparisonEnabled": False,
    "spinnerTipsEnabled": False,
    "promptSuggestionEnabled": False,
}


def program(environ: Mapping[str, str], contained: bool) -> str:
    """The absolute path of `claude`, or of `clauded` for a container: from its variable, otherwise the first on PATH.

    Raises:
        LaunchFailed: the program is missing or cannot be run.
    """
    if not contained:
        missing = LaunchFailed(
            "Claude Code is not installed: no claude on PATH",
            next="npm install -g @anthropic-ai/claude-code, or set DEV_SESSIONS_CLAUDE to its path",
        )
        return programs.find(environ, "claude", _VARIABLE, missing)
    missing = LaunchFailed(
        "there is no clauded on PATH, which runs Claude in a container (a shell's function or alias is not seen)",
        next='write it as a script that runs claude "$@" in a container, as docs/containers.md shows',
    )
    return programs.find(environ, "clauded", container.VARIABLE, missing)


def program_again(session: Session) -> str:
    """The program with which to revive a session: the one that the caller names, otherwise the one it was started with.

    Raises:
        LaunchFailed: that program does not exist.
    """
    before = str(session.private.get("program") or "")
    named = session.environ.get(container.VARIABLE if session.contained else _VARIABLE)
    return before if not named and os.access(before, os.X_OK) else program(session.environ, session.contained)


def refuse_root(environ: Mapping[str, str], permissions: str) -> None:
    """Raise if Claude Code would refuse to skip permissions, as it does for root unless IS_SANDBOX allows it.

    Raises:
        LaunchFailed: it would refuse.
    """
    if permissions == "full" and os.geteuid() == 0 and not config.is_true(environ.get("IS_SANDBOX")):
        raise LaunchFailed(
            "Claude Code does not run with full permissions as root",
            next="set IS_SANDBOX=1 if this machine is a sandbox, or use --permissions edit",
        )


def config_folder(environment: Mapping[str, str], path: str) -> str:
    """The configuration folder of a Claude that is started in the folder `path` with this environment."""
    named = environment.get("CLAUDE_CONFIG_DIR")
    return os.path.join(path, named) if named else os.path.join(config.user_home(environment), ".claude")


def write_script(launch: Launch, program: str, conversation: Sequence[str], bare: bool) -> str:
    """Write the settings and the script that starts the agent; return the script's path.

    The script (mode 0600) contains the environment and exports it: the tmux server would give its first caller's
    environment to every session, and all users can read a command line.

    Args:
        conversation: the options that name the conversation.
        bare: start it without the project's own files.
    """
    folder = launch.session.folder
    os.makedirs(paths.questions(folder), mode=0o700, exist_ok=True)
    # Messages sent as files are read from our folder: without this rule, Claude asks, except with full permissions.
    permissions = {"allow": [f"Read(/{folder.messages_path}/**)"], "disableAutoMode": "disable"}
    settings = {
        **_SETTINGS,
        # Without this setting, a turn stopped by a usage limit continues hours later (2.1.234 and newer).
        "autoContinueAtUsageLimit": launch.continue_at_reset,
        "hooks": hooks.settings(folder.facts_path, paths.questions(folder)),
        "permissions": permissions,
    }
    files.write_json(paths.settings(folder), settings)
    hooks.forget_pane(folder.facts_path)
    mode = ("--permission-mode", _MODES[launch.permissions])
    argv = [program, *conversation, *mode, "--settings", paths.settings(folder)]
    if launch.model:
        argv += ["--model", launch.model]
    environment = {**launch.environment, **_VARIABLES}
    if bare:
        argv += _BARE_WORDS
        environment |= _BARE_VARIABLES
    if config.is_true(environment.get("IS_SANDBOX")):
        environment["IS_SANDBOX"] = "1"  # the only value that Claude accepts as yes (2.1.330)
    process, here = shlex.quote(folder.process_path), shlex.quote(f"{launch.path}\n.")
    lines = [
        f"umask {processes.file_mask():04o}",
        # Written by the process that becomes the agent, so the agent's pid is always known while it runs.
        f"(umask 077; {{ echo $$; {_STARTED}; {_BOOTED}; }} >{process}.tmp)",
        f"mv -f {process}.tmp {process}",
        *(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())),
        f"cd -- {shlex.quote(launch.path)} || exit 1",
        # The path may have become a link since it was checked; this shell, and so the agent, is already in its folder.
        f'[ "$(pwd -P && echo .)" = {here} ] || {{ echo "{_ELSEWHERE}" >&2; exit 1; }}',
        f"exec {shlex.join(argv)}",
        "",
    ]
    script = paths.script(folder)
    files.write_whole(script, os.fsencode("\n".join(lines)))
    return script


def kept_environment(session: Session) -> dict[str, str] | None:
    """The environment that the agent was started with, read from its script; None if the script is missing."""
    try:
        content = files.read(paths.script(session.folder))
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
