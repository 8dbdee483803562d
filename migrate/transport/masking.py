"""Mask secrets in texts of servers and libraries: messages, errors, bodies."""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Replace the secrets in every form in which a server or a library might repeat them.

    The forms: plain in any case, percent-encoded, base64 at each of the three byte offsets.
    """
    for secret in secrets:
        for form in _forms(secret):
            text = re.sub(re.escape(form), MASK, text, flags=re.IGNORECASE)
    return text


def printable(text: str, *, characters_max: int) -> str:
    """One line, safe for terminals and logs: control and direction characters are escaped.

    Cut to `characters_max` characters, followed by "..." if something was cut.
    """
    escaped = _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text[: characters_max + 1])
    return escaped if len(escaped) <= characters_max else escaped[:characters_max] + "..."


def _forms(secret: str) -> list[str]:
    """The forms, longest first, so that a shorter one does not break a longer one.

    An empty secret has no form.
    """
    if not secret:
        return []
    forms = {secret, quote(secret, safe="")}
    for offset in range(3):
        # The first and last characters depend on the text around the secret: they are left out.
        encoded = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        start = (offset * 8 + 5) // 6
        whole = (offset + len(secret.encode())) * 8 // 6
        forms.add(encoded[start:whole])
    return sorted((form for form in forms if form), key=len, reverse=True)
