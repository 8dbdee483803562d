"""Tests of this folder check files on the real disk, with its fsync."""

import pytest


@pytest.fixture(autouse=True)
def _real_storage(real_storage: None) -> None:
    """The disk of the product."""
