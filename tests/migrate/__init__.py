"""Tests of the toolkit, laid out like it."""
