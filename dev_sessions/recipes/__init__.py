"""Composites over the client: what takes several operations, and has to outlive the command that began it."""
