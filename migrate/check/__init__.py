"""What a move needs, asked in seconds: machine, source and target, a row each."""
