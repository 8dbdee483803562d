"""Tests of migrate.cloudflare.client."""
