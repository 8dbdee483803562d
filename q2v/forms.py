"""What the texts of settings have to look like."""

import ipaddress
import re
from urllib.parse import urlsplit

from migrate.core import limits

# These become parts of a URL's path, so nothing that could leave their place in it.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
URL_FORM = "an http or https URL without user name, password, query or fragment"
NAME_FORM = "letters, digits, - and _, at most 64"
_METADATA_INDEX = re.compile(r"[^:]+:(string|number|boolean)")
_FIELD = re.compile(r"\{([^{}]+)\}")
TRUNCATE = "truncate:"


def is_plain_name(text: str) -> bool:
    """Whether it can be a part of a URL's path without changing it."""
    return _PLAIN_NAME.fullmatch(text) is not None


def is_url(text: str) -> bool:
    """Whether it is http or https with a host, and holds no user name or password.

    Whether the host may get our token is a question for later; this keeps passwords out of
    every place that shows a URL.
    """
    try:
        parts = urlsplit(text)
        port = parts.port  # raises for one that is no port
        host = parts.hostname or ""
        if ":" in host:
            ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return False
    # Spaces and backslashes are read differently by different libraries.
    return "@" not in parts.netloc and not set(text) & set(" \\?#")


def template_fields(template: str) -> tuple[str, ...]:
    """The field names in braces, in order."""
    return tuple(_FIELD.findall(template))


def is_template(text: str) -> bool:
    """Whether it names at least one field, and every brace belongs to one."""
    rest = _FIELD.sub("", text)
    return rest != text and not set(rest) & set("{}")


def is_oversize_rule(text: str) -> bool:
    """Whether it is "quarantine", or "truncate:" with a field."""
    return text == "quarantine" or (text.startswith(TRUNCATE) and text != TRUNCATE)


def is_metadata_index(text: str) -> bool:
    """Whether it is a name and a type the target knows."""
    return _METADATA_INDEX.fullmatch(text) is not None


def are_metadata_indexes(texts: tuple[str, ...]) -> bool:
    """Whether the names differ and the target takes as many."""
    names = [text.partition(":")[0] for text in texts]
    return len(names) == len(set(names)) <= limits.METADATA_INDEXES_MAX
