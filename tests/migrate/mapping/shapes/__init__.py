"""Shapes of payloads: recognised, and given a mapping."""
