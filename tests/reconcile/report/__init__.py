"""Tests of reconcile.report."""
