"""Empty a target of what runs and an allow list name, and of nothing else. Decision 0045."""
