"""Tests of q2v.fleet."""
