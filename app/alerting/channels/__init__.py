"""Where notifications go: one kind of channel each, and its message format."""
