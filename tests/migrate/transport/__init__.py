"""Tests of migrate.transport."""
