"""Tests of migrate.storage."""
