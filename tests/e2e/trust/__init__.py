"""Who may do and see what, and input and answers that cannot be trusted."""
