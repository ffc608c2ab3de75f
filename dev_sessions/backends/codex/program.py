"""Codex as a program."""

from __future__ import annotations

from ..installed import Program
from .paths import CONTROL

PROGRAM = Program(
    name="codex",
    variable="DEV_SESSIONS_CODEX",
    home_variable="CODEX_HOME",
    folder=".codex",
    oldest="0.139.0",
    newest="0.171.0",
    login_file="auth.json",
    login_variables=("OPENAI_API_KEY", "CODEX_API_KEY"),
    install="npm install -g @openai/codex",
    socket=CONTROL,
)
