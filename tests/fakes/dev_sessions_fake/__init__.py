"""The scripted fake agent: a backend for tests, registered by an entry point."""
