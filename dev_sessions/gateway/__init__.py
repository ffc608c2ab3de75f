"""The gateway: agents in containers use the sessions of this machine."""
