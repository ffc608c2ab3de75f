"""Codex, through its app-server: one daemon for each CODEX_HOME, one thread for each session."""
