"""Payloads as people have them: what moves, by which rules, and what is left out."""
