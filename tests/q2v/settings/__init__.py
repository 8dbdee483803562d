"""Tests of q2v.settings."""
