"""Tests of the package `reconcile`: comparison, report and rollback."""
