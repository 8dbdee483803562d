"""Tests of migrate.snapshot."""
