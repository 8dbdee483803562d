"""Tests of migrate.cloudflare.budget."""
