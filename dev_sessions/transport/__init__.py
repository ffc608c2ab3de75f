"""The ways from a client to a service."""
