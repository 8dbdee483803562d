"""Tests of migrate.upload."""
