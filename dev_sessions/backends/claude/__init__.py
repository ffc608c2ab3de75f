"""Claude Code in tmux: versions 2.1.150 and newer, tested up to 2.1.332."""
