"""Claude Code as a program."""

from __future__ import annotations

from ..programs import Program
from .keys import troubles
from .version import NEWEST, OLDEST

PROGRAM = Program(
    name="claude",
    title="Claude Code",
    variable="DEV_SESSIONS_CLAUDE",
    home_variable="CLAUDE_CONFIG_DIR",
    folder=".claude",
    oldest=OLDEST,
    newest=NEWEST,
    login_file=".credentials.json",
    login_variables=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    install="npm install -g @anthropic-ai/claude-code",
    troubles=troubles,
)
