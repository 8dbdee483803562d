"""Payload shapes of known writers, how one is recognised, and the mapping that moves it; pure."""
