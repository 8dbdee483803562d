"""Tests of this folder check databases that are opened and spill as in the product."""

import pytest


@pytest.fixture(autouse=True)
def _real_storage(real_storage: None) -> None:
    """The databases of the product."""
