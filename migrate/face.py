"""The public names of a package, each loaded from its module when it is first used.

`q2v --help` imports the package as well, and must not load Arrow and DuckDB.
"""

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from typing_extensions import override


class _Face(ModuleType):
    """A package whose offered names win over its modules of the same name."""

    _offered: Mapping[str, str]  # name -> module

    @override
    def __getattr__(self, name: str) -> Any:
        """Load an offered name."""
        module = self.__dict__["_offered"].get(name)
        if module is None:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return getattr(importlib.import_module(module), name)

    @override
    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, except a loaded module whose name is offered.

        Python sets every loaded module as an attribute of its package.
        """
        if not (isinstance(value, ModuleType) and name in self.__dict__.get("_offered", ())):
            super().__setattr__(name, value)


def offer(package: str, modules: Mapping[str, str]) -> None:
    """Let `package` offer these names, each from its module. Its `__init__` calls this."""
    module = sys.modules[package]
    module.__dict__["_offered"] = dict(modules)
    module.__class__ = _Face
