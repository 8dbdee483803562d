"""The plan before the move: what it says, what it is held to."""
