"""Take secrets out of texts: messages of servers and libraries, logs, tracebacks, results."""

import base64
import html
import json
import re
import traceback
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"
# A shorter run of base64 or hex is ordinary text more often than a secret.
_ENCODED_LENGTH_MIN = 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Ways in which a program writes a text into another one.
_ESCAPES: tuple[Callable[[str], str], ...] = (
    str,
    lambda text: quote(text, errors="surrogatepass"),
    lambda text: quote(text, safe="", errors="surrogatepass"),
    lambda text: quote_plus(text, errors="surrogatepass"),
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: repr(text)[1:-1],
    lambda text: repr(text.encode("utf-8", "surrogatepass"))[2:-1],
    html.escape,
    lambda text: html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
)


class Masker:
    """Replaces every registered secret, in any form it is likely to be written in.

    Forms, in any letter case: raw, percent-encoded, JSON-, `repr`- and HTML-escaped, any two of
    these one after the other; hex; base64, alone or inside a longer text.
    """

    def __init__(self, *secrets: str | None) -> None:
        """Registers the secrets; None and an empty text are ignored."""
        self._patterns: dict[str, re.Pattern[str]] = {}
        for secret in secrets:
            self.register(secret or "")

    def register(self, secret: str) -> None:
        """Mask this text from now on; an empty one is ignored. Harmless when repeated."""
        if secret and secret not in self._patterns:
            # The longest first, so that no form is cut by a shorter one.
            forms = sorted(set(_forms(secret)), key=len, reverse=True)
            pattern = "|".join(map(re.escape, forms))
            self._patterns[secret] = re.compile(pattern, re.IGNORECASE)

    def mask(self, text: str) -> str:
        """The text without secrets."""
        for pattern in tuple(self._patterns.values()):  # another thread may register meanwhile
            text = pattern.sub(MASK, text)
        return text

    def mask_values(self, value: object) -> object:
        """A JSON value with every text in it masked, keys included."""
        match value:
            case str():
                return self.mask(value)
            case dict():
                return {self.mask(str(key)): self.mask_values(item) for key, item in value.items()}
            case list() | tuple():
                return [self.mask_values(item) for item in value]
            case _:
                return value

    def mask_traceback(self, error: BaseException) -> str:
        """The traceback with causes, contexts, notes and groups; local variables never shown."""
        return self.mask("".join(traceback.format_exception(error)))


def printable(text: str, *, characters_max: int) -> str:
    """One line, safe for terminals and logs: control and direction marks escaped, cut to length."""
    escaped = _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text[: characters_max + 1])
    return escaped if len(escaped) <= characters_max else escaped[:characters_max] + "..."


def _forms(secret: str) -> Iterator[str]:
    for first in _ESCAPES:
        yield from (second(first(secret)) for second in _ESCAPES)
    content = secret.encode("utf-8", "surrogatepass")
    if len(content) >= _ENCODED_LENGTH_MIN:
        yield content.hex()
        for encoded in _base64(content):
            url_safe = encoded.replace("+", "-").replace("/", "_")
            yield from (encoded, encoded.replace("/", "\\/"), quote(encoded, safe=""))
            yield from (url_safe, quote(url_safe, safe=""))


def _base64(content: bytes) -> Iterator[str]:
    """The content in base64: alone, with and without padding, and inside a longer text.

    Inside a longer text the characters at both ends depend on the neighbours: they are left out.
    """
    alone = base64.b64encode(content).decode()
    yield from (alone, alone.rstrip("="))
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + content).decode().rstrip("=")
        core = encoded[(offset * 8 + 5) // 6 : (offset + len(content)) * 8 // 6]
        if len(core) >= _ENCODED_LENGTH_MIN:
            yield core
