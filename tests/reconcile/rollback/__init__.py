"""Tests of reconcile.rollback."""
