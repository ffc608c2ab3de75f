"""Transports: they carry requests from a client to a service."""
