"""The public names of a package, each loaded from its module when it is first used.

`q2v --help` imports the package as well, and must not load Arrow and DuckDB.
"""

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from typing_extensions import override


class _LazyPackage(ModuleType):
    """A package whose public names take precedence over its modules of the same name."""

    _public_names: Mapping[str, str]  # name -> module

    @override
    def __getattr__(self, name: str) -> Any:
        """Load a public name from its module."""
        module = self.__dict__["_public_names"].get(name)
        if module is None:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return getattr(importlib.import_module(module), name)

    @override
    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, except a loaded module whose name is public.

        Python sets every loaded module as an attribute of its package.
        """
        if not (isinstance(value, ModuleType) and name in self.__dict__.get("_public_names", ())):
            super().__setattr__(name, value)


def load_when_used(package: str, modules: Mapping[str, str]) -> None:
    """Make names of `package` public: name -> its module. The `__init__` of `package` calls it."""
    module = sys.modules[package]
    module.__dict__["_public_names"] = dict(modules)
    module.__class__ = _LazyPackage
