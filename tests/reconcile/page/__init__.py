"""Tests of reconcile.page."""
