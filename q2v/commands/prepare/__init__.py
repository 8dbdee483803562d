"""Before the window: what would move, and the target made ready."""
