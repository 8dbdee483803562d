"""The decision, the week after it, and every way back."""
