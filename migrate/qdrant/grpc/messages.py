"""The messages and stubs that qdrant-client ships, without the client around them.

The client's package makes a model of every REST message when it is imported. That takes half a
second, as long as everything else that a process of ours loads, and the stubs need none of it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec

_PACKAGE = "qdrant_client"


@contextmanager
def _package_not_run() -> Iterator[None]:
    """The package as a place where modules are found; whoever imports it later gets it whole."""
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
