"""What the commands of the timeline print, kept from a run of them.

samples.txt holds one text after the other, each under a line `== STEP` or, of the command that ends
early, `== STEP EXIT`. tests/e2e/after/test_runbook.py runs the commands and compares.
"""

import pkgutil
import re
from collections.abc import Mapping

_HEAD = re.compile(r"^== (.+)\n", re.MULTILINE)


def read_samples() -> Mapping[str, str]:
    """The text of each step, by its name, or by its name and the exit code."""
    content = pkgutil.get_data("q2v.runbook", "samples.txt")
    assert content is not None, "the wheel holds it"
    _, *rest = _HEAD.split(content.decode())
    return dict(zip(rest[::2], (text.rstrip("\n") for text in rest[1::2]), strict=True))


def samples_text(samples: Mapping[str, str]) -> str:
    """The content of samples.txt."""
    return "\n".join(f"== {name}\n{text}\n" for name, text in samples.items())
