"""Tests of this folder open hundreds of runs, so they reuse emptied databases."""

from collections.abc import Iterator

import pytest

from tests.harness.fakes.kept_databases import kept_databases


@pytest.fixture(autouse=True)
def _databases() -> Iterator[None]:
    with kept_databases():
        yield
