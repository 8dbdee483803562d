"""Tests of q2v.output."""
