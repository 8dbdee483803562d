"""Fleets of moves, as real processes between test servers and the sandbox."""
