"""The messages and stubs that qdrant-client ships, without the client around them.

The client's package builds a model of every REST message when it is imported. That takes half a
second, as long as all other imports of a q2v process, and the stubs do not need it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec

_PACKAGE = "qdrant_client"


@contextmanager
def _package_not_run() -> Iterator[None]:
    """Register the package without running its `__init__`. A later import runs it as usual."""
    spec = None if _PACKAGE in sys.modules else find_spec(_PACKAGE)
    if spec is None:  # it is loaded already, or missing: the import says so
        yield
        return
    sys.modules[_PACKAGE] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[_PACKAGE]


with _package_not_run():
    from qdrant_client import grpc as wire

__all__ = ["wire"]
