"""Take out of a screen what differs from one run to the next."""

import re
from collections.abc import Mapping, Sequence

_SAME_LENGTH = (
    (re.compile(r"\b\d{8}T\d{6}Z\b"), "20261130T200000Z"),
    (re.compile(r"(?<=Z-)[0-9a-f]{6}(?=-\d\d)"), "f9e4ca"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"), "2026-11-30T20:00:00"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "20:00:00"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0123456789abcdef" * 4),
    (re.compile(r"\b[0-9a-f]{32}\b"), "0123456789abcdef0123456789abcdef"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "0123456789abcdef"),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "PORT"),
    (re.compile(r"\b(\d+ min\s+)?\d[\d,]*(\.\d+)?(\s+)(ms|s|min|GB|MB|kB|B)(/s)?\b"), r"N\3\4\5"),
    (re.compile(r"\d+(\.\d+)? \w+/s"), "N/s"),
    (re.compile(r"\b\d+%\|[^|]*\|"), "N%|###|"),
    (re.compile(r"(?<=cf-ray )[^\s)]+"), "RAY"),
)


def plain(lines: Sequence[str], names: Mapping[str, str]) -> str:
    """The lines, with `names` (text -> name) and all times, sizes, ids and ports replaced."""
    text = "\n".join(lines)
    for found, name in sorted(names.items(), key=lambda pair: -len(pair[0])):
        # A terminal breaks a path that is longer than its line anywhere.
        text = name.join(re.split("\n?".join(map(re.escape, found)), text))
    for pattern, name in _SAME_LENGTH:
        text = pattern.sub(name, text)
    return text.rstrip() + "\n"
