"""Tests of migrate.plan."""
