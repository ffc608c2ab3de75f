"""Claude Code in tmux. Relied on: versions 2.1.150 and newer, tried with 2.1.332."""
