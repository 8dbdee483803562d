"""A plan that was saved and agreed on: its file, and what has moved since."""
