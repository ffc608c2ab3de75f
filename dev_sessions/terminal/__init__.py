"""Runs a program with a terminal interface in tmux. Does not know the agents."""
