"""Look for a secret in all that a command wrote, in every form it may have been written."""

import base64
import functools
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

_CORE_LENGTH_MIN = 6  # of a base64 form; a shorter one is found in any file


def assert_secret_absent(
    secret: str, paths: Iterable[Path] = (), texts: Iterable[str | bytes] = ()
) -> None:
    """No form of the secret is in any file (folders are walked), file name or text.

    Forms: raw, upper and lower case, URL-encoded, base64 at any offset within a longer text,
    hex, JSON- and `repr`-escaped, HTML-escaped. One pass over each file. The assertion names
    the place and not the secret.
    """
    pattern = _pattern(secret)
    for path in _files(paths):
        _assert_absent(pattern, os.fsencode(path), f"the name of {path.name!r}")
        _assert_absent(pattern, path.read_bytes(), str(path))
    for ordinal, text in enumerate(texts):
        content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        _assert_absent(pattern, content, f"text {ordinal}")


def _assert_absent(pattern: re.Pattern[bytes], content: bytes, where: str) -> None:
    found = pattern.search(content)
    if found is not None:
        start = found.start()
        raise AssertionError(
            f"a form of the secret is in {where}, at byte {start}, "
            f"after {content[max(0, start - 60) : start]!r}"
        )


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from (found for found in path.rglob("*") if found.is_file())
        elif path.is_file():
            yield path


@functools.lru_cache(maxsize=64)
def _pattern(secret: str) -> re.Pattern[bytes]:
    forms = {form.encode() for form in _forms(secret)}
    # Raw and escaped forms in any letter case: %2f and %2F, Bearer TOKEN in capitals.
    return re.compile(b"|".join(re.escape(form) for form in sorted(forms)), re.IGNORECASE)


def _forms(secret: str) -> Iterable[str]:
    escaped = json.dumps(secret)[1:-1]
    html = secret
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;")):
        html = html.replace(character, name)
    content = secret.encode()
    yield from (secret, escaped, json.dumps(escaped)[1:-1], escaped.replace("/", "\\/"))
    yield from (repr(secret)[1:-1], html, html.replace("'", "&#39;"), content.hex())
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret))
    yield quote(quote(secret, safe=""), safe="")
    for offset in range(3):
        # The characters of base64 that the secret alone decides, wherever it begins.
        encoded = base64.b64encode(bytes(offset) + content).decode().rstrip("=")
        core = encoded[(offset * 8 + 5) // 6 : (offset + len(content)) * 8 // 6]
        if len(core) >= _CORE_LENGTH_MIN:
            yield from (core, core.replace("+", "-").replace("/", "_"), quote(core, safe=""))
