"""Tests of reconcile.scan."""
