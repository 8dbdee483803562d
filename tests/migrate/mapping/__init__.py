"""Tests of migrate.mapping."""
