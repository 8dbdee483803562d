"""Tests of sandbox.kv."""
