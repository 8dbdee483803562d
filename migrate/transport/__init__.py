"""The HTTP layer that both services use: deadlines, trusted certificates, text of answers."""
