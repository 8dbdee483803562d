"""The Node.js and the packages that worker/package-lock.json pins."""

import platform
import shutil
from pathlib import Path

WORKER = Path(__file__).parents[3] / "worker"
MODULES = WORKER / "node_modules"
# Node.js keeps here what it compiled: a start of wrangler then takes a quarter less CPU time.
COMPILED = MODULES / ".cache" / "node-code"
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


def node_program() -> Path:
    """The Node.js that is installed with the packages, or else the machine's own."""
    architecture = _ARCHITECTURES.get(platform.machine(), "")
    pinned = MODULES / f"node-linux-{architecture}" / "bin" / "node"
    found = pinned if pinned.is_file() else Path(shutil.which("node") or "")
    assert found.is_file(), "no Node.js: install one of version 22.18 or newer"
    return found


def installed(*parts: str) -> Path:
    """A file of an installed package."""
    found = MODULES.joinpath(*parts)
    assert found.is_file(), (
        f"{parts[0]} is not installed: run `make worker/node_modules/.installed`, which needs "
        "npm; without npm, install Node.js first"
    )
    return found
