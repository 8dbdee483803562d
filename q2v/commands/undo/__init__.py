"""What takes a move back."""
