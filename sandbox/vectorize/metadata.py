"""The rules for the metadata of a vector."""

from collections.abc import Iterable, Mapping

import orjson

from sandbox.errors import (
    invalid_metadata_key,
    oversized_metadata,
    unparsable_upload,
)
from sandbox.limits import METADATA_BYTES_MAX

_PLAIN = frozenset({str, int, float, bool})


def check_metadata(vector_id: str, text: bytes) -> None:
    """Check metadata given as compact JSON of an object. Raises what the service answers.

    Strings, numbers, booleans, lists of strings, and objects of these one level down. Where the
    documentation is silent (null, other lists, deeper nesting) the sandbox refuses.
    """
    try:
        metadata = orjson.loads(text)
    except ValueError as error:
        raise unparsable_upload() from error
    if not isinstance(metadata, dict):
        raise unparsable_upload()
    _check_object(vector_id, metadata, inner=False)
    size = len(text)
    if size > METADATA_BYTES_MAX:
        # The text may spell numbers longer than needed: measure the plain spelling.
        size = len(orjson.dumps(metadata))
    if size > METADATA_BYTES_MAX:
        raise oversized_metadata(vector_id, size, METADATA_BYTES_MAX)


def _check_object(vector_id: str, metadata: Mapping[str, object], *, inner: bool) -> None:
    for key, value in metadata.items():
        if not key or key[0] == "$" or "." in key or '"' in key:
            raise invalid_metadata_key(vector_id)
        if type(value) in _PLAIN:
            continue
        if isinstance(value, dict) and not inner:
            _check_object(vector_id, value, inner=True)
        elif not (isinstance(value, list) and all(type(one) is str for one in value)):
            raise unparsable_upload()


def selected(text: bytes, properties: Iterable[str]) -> dict[str, object]:
    """Only the given properties (dots reach into objects) of metadata given as JSON."""
    metadata = orjson.loads(text)
    chosen: dict[str, object] = {}
    for path in sorted(properties):
        value = look_up(metadata, path)
        if value is None:
            continue
        *outer, last = path.split(".")
        place: dict[str, object] = chosen
        for name in outer:
            inner = place.setdefault(name, {})
            assert isinstance(inner, dict)
            place = inner
        place[last] = value
    return chosen


def look_up(metadata: object, path: str) -> object:
    """The value at a dotted path, None without one."""
    for name in path.split("."):
        metadata = metadata.get(name) if isinstance(metadata, dict) else None
    return metadata
