"""Tests of migrate.wrangler."""
