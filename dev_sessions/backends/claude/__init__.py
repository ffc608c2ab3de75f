"""Claude Code in tmux: versions 2.1.221 and newer, tested up to 2.1.332."""
