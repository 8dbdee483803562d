"""Tests of migrate.cloudflare."""
