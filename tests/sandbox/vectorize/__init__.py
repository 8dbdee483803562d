"""Tests of sandbox.vectorize."""
