"""Tests of the stages: what each reads, writes and survives."""
