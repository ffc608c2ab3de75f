"""dev-sessions: coding agents that start, brief, await and clean up other coding agents."""

__version__ = "0.1.0"
