"""How to hold a program with a terminal interface in tmux. Knows no agent."""
