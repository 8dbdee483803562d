"""Questions to the verifier and the proof in its answers (worker/src/verifier is the other side).

The verifier is given the first 8 of the 32 bytes of each digest, and answers a SHA-256 over all
digests that it read. It can only make that by reading the vectors. Pure.
"""

import hashlib
from collections.abc import Sequence

import orjson

from migrate.model.digest import DIGEST_BYTES
from migrate.model.limits import VECTOR_ID_BYTES_MAX
from migrate.model.records import MutationId, VectorId, Verified, VerifierState

PROTOCOL = 2
SERVICE = "q2v verifier"
PREFIX_BYTES = 8
_READ = b"q2v read 1\n"


class UnprovenError(Exception):
    """The answer does not prove that the vectors were read."""


class OtherProtocolError(Exception):
    """The verifier is of another version."""


def question_path(index: str) -> str:
    """The path of questions about a vector index; the signature covers it."""
    return f"/v2/verify/{index}"


def request_text(method: str, path: str, time_s: int, nonce: str, body: bytes) -> bytes:
    """What the signature of a request is over."""
    return f"q2v request 1\n{method} {path}\n{time_s}\n{nonce}\n".encode() + body


def answer_text(request_signature: str, status: int, body: bytes) -> bytes:
    """What the signature of an answer is over. It fits one request only."""
    return f"q2v answer 1\n{request_signature}\n{status}\n".encode() + body


def encode_question(expected: Sequence[tuple[VectorId, bytes]]) -> bytes:
    """Per vector the length of its id, the id, and how its digest begins."""
    pieces = []
    for vector_id, digest in expected:
        name = vector_id.encode()
        assert 0 < len(name) <= VECTOR_ID_BYTES_MAX, "an id that the target takes"
        assert len(digest) == DIGEST_BYTES
        pieces.append(b"%c%b%b" % (len(name), name, digest[:PREFIX_BYTES]))
    return b"".join(pieces)


def read_states(body: bytes) -> dict[str, VerifierState | str]:
    """The answer to /ready: for each vector index how it is, or why that could not be read.

    Raises UnprovenError for another service, OtherProtocolError for another version.
    """
    record = _object(body)
    service, protocol = record.get("service"), record.get("protocol")
    if service != SERVICE:
        raise UnprovenError("it is no verifier of q2v")
    if protocol != PROTOCOL:
        raise OtherProtocolError(f"it speaks protocol {protocol!r}, this q2v speaks {PROTOCOL}")
    vectors_max, indexes = _count(record, "vectors_max"), record.get("indexes")
    if not isinstance(indexes, dict):
        raise UnprovenError("it names no vector indexes")
    return {name: _state(members, vectors_max) for name, members in indexes.items()}


def _state(members: object, vectors_max: int) -> VerifierState | str:
    match members:
        case {"error": str(why)}:
            return why
        case dict() as record:
            mutation = record.get("processed_mutation")
            return VerifierState(
                vectors_max=vectors_max,
                dimensions=_count(record, "dimensions"),
                processed_mutation=None if mutation is None else MutationId(str(mutation)),
            )
        case _:
            raise UnprovenError("it describes no vector index")


def read_answer(body: bytes, expected: Sequence[tuple[VectorId, bytes]]) -> Verified:
    """What was found. Raises UnprovenError when the answer does not prove it."""
    record = _object(body)
    asked = dict(expected)
    missing = _ids(record.get("missing"))
    unreadable = frozenset(_pairs(record.get("unreadable")))
    differs = {
        vector_id: _digest(digest) for vector_id, digest in _pairs(record.get("differs")).items()
    }
    named = len(missing) + len(unreadable) + len(differs)
    suspects = missing | unreadable | differs.keys()
    if len(suspects) != named or not suspects <= asked.keys():
        raise UnprovenError("it names a vector twice, or one that was not asked for")
    if any(asked[vector_id] == digest for vector_id, digest in differs.items()):
        raise UnprovenError("it calls a digest different that is the expected one")
    _check_digest(record, expected, missing | unreadable, differs)
    return Verified(
        missing=missing,
        differs=frozenset(differs),
        unreadable=unreadable,
        retries=_count(record, "retries"),
    )


def _check_digest(
    record: dict[str, object],
    expected: Sequence[tuple[VectorId, bytes]],
    unread: frozenset[VectorId],
    differs: dict[VectorId, bytes],
) -> None:
    """Raise UnprovenError unless the answer's sum is that of all digests that were read."""
    digest, read = hashlib.sha256(_READ), 0
    for vector_id, wanted in expected:
        if vector_id not in unread:
            digest.update(differs.get(vector_id, wanted))
            read += 1
    if record.get("read") != read:
        raise UnprovenError(f"it read {record.get('read')!r} vectors, {read} were expected")
    if record.get("digest") != digest.hexdigest():
        raise UnprovenError("its sum is not that of the digests: it did not read the vectors")


def _object(body: bytes) -> dict[str, object]:
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnprovenError("it is no JSON") from error
    if not isinstance(record, dict):
        raise UnprovenError("it is no JSON object")
    return record


def _count(record: dict[str, object], name: str) -> int:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnprovenError(f"it has no number '{name}'")
    return value


def _ids(value: object) -> frozenset[VectorId]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UnprovenError("it has no list of ids")
    if len(set(value)) != len(value):
        raise UnprovenError("it names a vector twice, or one that was not asked for")
    return frozenset(map(VectorId, value))


def _pairs(value: object) -> dict[VectorId, str]:
    """[[id, text], ...] as a dictionary."""
    found: dict[VectorId, str] = {}
    for pair in value if isinstance(value, list) else [None]:
        match pair:
            case [str(vector_id), str(text)] if vector_id not in found:
                found[VectorId(vector_id)] = text
            case _:
                raise UnprovenError("it has no list of ids and texts")
    return found


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError as error:
        raise UnprovenError("it has a digest that is no hex") from error
    if len(digest) != DIGEST_BYTES:
        raise UnprovenError(f"it has a digest of {len(digest)} bytes")
    return digest
