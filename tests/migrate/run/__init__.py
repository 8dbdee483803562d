"""Tests of migrate.run."""
