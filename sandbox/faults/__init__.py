"""Faults on request: single ones, and scenarios that last."""
