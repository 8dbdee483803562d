"""Tests of migrate.tables."""
