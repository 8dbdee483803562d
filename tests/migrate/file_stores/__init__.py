"""Tests of the file stores."""
