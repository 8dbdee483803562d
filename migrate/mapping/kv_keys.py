"""The rule for KV keys: which are valid, the key of a file, and the file of a key."""

import re

from migrate.model.limits import KV_KEY_BYTES_MAX

_WITHOUT_WHITE_SPACE = re.compile(r"\S+")


def key_fault(key: str) -> str | None:
    """Why the service refuses this key, in words; None when it takes it."""
    size = len(key.encode())
    if size > KV_KEY_BYTES_MAX:
        return f"{size} bytes, at most {KV_KEY_BYTES_MAX}"
    if key in {".", ".."} or not key.isprintable() or not _WITHOUT_WHITE_SPACE.fullmatch(key):
        return "'.', '..', white space or control characters"
    return None


def encode_key(template: str, field: str, group: str) -> str:
    """The key of the file named `group`; `template` holds the field in braces."""
    return template.replace(f"{{{field}}}", group)


def group_of_key(template: str, field: str, key: str) -> str | None:
    """The inverse of `encode_key`: the file that gets this key, None when no file can."""
    before, _, after = template.partition(f"{{{field}}}")
    group = key[len(before) : len(key) - len(after)]
    fits = group and encode_key(template, field, group) == key
    return group if fits else None
