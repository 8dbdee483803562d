"""JSON objects that hold a key twice. A dict keeps the last value of such a key, these keep all."""

from migrate.model.canonical import encode_canonical_json


class _Repeated(dict[str, object]):
    """An object that holds a key twice: as a dict the last values, in `pairs` all, in order."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def keep_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A dict of the pairs, which also keeps all pairs if a key occurs twice."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Repeated(pairs)


def has_repeated(value: object) -> bool:
    """Whether an object of this value, at any depth, holds a key twice."""
    waiting = [value]
    while waiting:  # a loop, because a payload may be deeper than Python's stack
        match waiting.pop():
            case _Repeated():
                return True
            case dict() as fields:
                waiting += fields.values()
            case list() as values:
                waiting += values
            case _:
                pass
    return False


def encode_repeated(value: object) -> bytes:
    """Canonical JSON, but an object that holds a key twice keeps all its pairs, in their order."""
    pieces = []
    waiting = [value]
    while waiting:
        match waiting.pop():
            case bytes() as piece:  # of the text itself: no JSON value is bytes
                pieces.append(piece)
            case dict() as fields:
                waiting += reversed(_repeated_pairs(fields))
            case list() as values:
                inner = [part for element in values for part in (b",", element)]
                waiting += reversed([b"[", *inner[1:], b"]"])
            case single:
                pieces.append(encode_canonical_json(single))
    return b"".join(pieces)


def _repeated_pairs(fields: dict[str, object]) -> list[object]:
    pairs = fields.pairs if isinstance(fields, _Repeated) else sorted(fields.items())
    parts: list[object] = []
    for key, value in pairs:
        comma = b"," if parts else b"{"
        parts += [comma + encode_canonical_json(key) + b":", value]
    return [*parts, b"}" if parts else b"{}"]
