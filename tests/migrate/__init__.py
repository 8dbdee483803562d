"""Tests of the library, laid out like it."""
