"""Simulations of an operator's evening: one life after the other, troubles by chance."""
