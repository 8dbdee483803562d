"""What the texts of settings have to look like."""

import ipaddress
import re
from urllib.parse import urlsplit

from migrate.mapping.kv_keys import key_fault
from migrate.model import limits

# These become parts of a URL's path, so nothing that could leave their place in it.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
URL_FORM = "an http or https URL without user name, password, query or fragment"
NAME_FORM = "letters, digits, - and _, at most 64"
# wrangler takes the name of an index as a word of its own and would read a dash as an option.
_INDEX_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
INDEX_NAME_FORM = f"{NAME_FORM}, a letter first"
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
VARIABLE_NAME_FORM = "the name of a variable: letters, digits and _, no digit first"
COLLECTION_FORM = "text without /, of at most 255 bytes, and not . or .."
FIELD_FORM = 'a payload field: no . or " in it, no $ in front, no blanks around it'
ID_TEMPLATE_FORM = (
    "text with payload fields in braces, as {file_id}_{chunk_index} or {point_id}; no blanks "
    f"inside the braces, and an id of at most {limits.VECTOR_ID_BYTES_MAX} bytes"
)
KEY_TEMPLATE_FORM = (
    "text with the field of mapping.group_key in braces, as file:{file_id}; no white space, and a "
    f"key of at most {limits.KV_KEY_BYTES_MAX} bytes"
)
KEY_FORM = f"a KV key: 1 to {limits.KV_KEY_BYTES_MAX} bytes, no white space, and not . or .."
_COLLECTION_BYTES_MAX = 255  # Qdrant's own limit for a name
_METADATA_INDEX = re.compile(r"([^:]+):(string|number|boolean)")
_INDEXED_NAME_CHARACTERS_MAX = 512  # of a filter's key
_FIELD = re.compile(r"\{([^{}]+)\}")
TRUNCATE = "truncate:"


def is_plain_name(text: str) -> bool:
    """Whether it can be a part of a URL's path without changing it."""
    return _PLAIN_NAME.fullmatch(text) is not None


def is_index_name(text: str) -> bool:
    """Whether it can also be a word of its own in a command line, never taken for an option."""
    return _INDEX_NAME.fullmatch(text) is not None


def is_variable_name(text: str) -> bool:
    """Whether a Worker's code can use it as the name of a binding."""
    return _VARIABLE_NAME.fullmatch(text) is not None


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


def is_collection(text: str) -> bool:
    """Whether Qdrant can have a collection of this name, and a URL can hold it."""
    return text not in {".", ".."} and "/" not in text and _fits(text, _COLLECTION_BYTES_MAX)


def is_field(text: str) -> bool:
    """Whether metadata can hold a field of this name: a point with another one never moves."""
    return not (set(text) & set('."') or text.startswith("$") or text != text.strip())


def is_id_template(text: str) -> bool:
    """Whether it names at least one field, and some id that comes of it fits."""
    fields = template_fields(text)
    # Every field gives a byte at least.
    return _is_template(text) and _fits(_literals(text), limits.VECTOR_ID_BYTES_MAX - len(fields))


def is_key_template(text: str) -> bool:
    """Whether it names at least one field, and some key that comes of it fits."""
    return _is_template(text) and key_fault(_FIELD.sub("x", text)) is None


def is_key(text: str) -> bool:
    """Whether the service takes it as a KV key."""
    return key_fault(text) is None


def _is_template(text: str) -> bool:
    """Whether it names at least one field, and every brace belongs to one."""
    fields = template_fields(text)
    return bool(fields) and not set(_literals(text)) & set("{}") and all(map(is_field, fields))


def _literals(template: str) -> str:
    """What stands around the fields."""
    return _FIELD.sub("", template)


def _fits(text: str, bytes_max: int) -> bool:
    return len(text.encode(errors="surrogatepass")) <= bytes_max


def is_oversize_rule(text: str) -> bool:
    """Whether it is "quarantine", or "truncate:" with a field."""
    field = text.removeprefix(TRUNCATE)
    return text == "quarantine" or (text.startswith(TRUNCATE) and bool(field) and is_field(field))


def is_metadata_index(text: str) -> bool:
    """Whether it is a name and a type the target knows; a dot in a name reaches into an object."""
    found = _METADATA_INDEX.fullmatch(text)
    if found is None or len(found[1]) > _INDEXED_NAME_CHARACTERS_MAX:
        return False
    return all(part and is_field(part) for part in found[1].split("."))


def are_metadata_indexes(texts: tuple[str, ...]) -> bool:
    """Whether the names differ and the target takes as many."""
    names = [text.partition(":")[0] for text in texts]
    return len(names) == len(set(names)) <= limits.METADATA_INDEXES_MAX
