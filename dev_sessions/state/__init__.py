"""The state folder: our own acts, and the agents' reports."""
