"""Tests of migrate.mapping.transforms."""
