"""Tests of migrate.restore."""
