"""Tests of migrate.workers."""
