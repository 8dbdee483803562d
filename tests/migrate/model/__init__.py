"""Tests of migrate.model."""
