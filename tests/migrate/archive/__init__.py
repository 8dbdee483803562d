"""Tests of migrate.archive."""
