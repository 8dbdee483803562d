"""A JSON object sealed with its own digest and, with a key, an HMAC. Pure."""

import hashlib

from migrate.errors import ArtefactDamagedError, ForeignStateError
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.hmac_key import SealKey


def seal_json(fields: dict[str, object], key: SealKey | None = None) -> bytes:
    """JSON with a member `sha256` over everything else, in canonical form.

    With a key there is a member `hmac` as well, over all other members.
    """
    if key is not None:
        fields = {**fields, "hmac": key.code(encode_canonical_json(fields))}
    return _with_digest(fields)


def _with_digest(fields: dict[str, object]) -> bytes:
    digest = hashlib.sha256(encode_canonical_json(fields)).hexdigest()
    return encode_canonical_json({**fields, "sha256": digest}) + b"\n"


def unseal_json(
    content: bytes,
    *,
    where: str,
    format_version: int | tuple[int, ...],
    key: SealKey | None = None,
) -> dict[str, object]:
    """The fields of a sealed JSON file, without `sha256` and `hmac`.

    Raises ForeignStateError for another format version, ArtefactDamagedError when the file is
    not, byte for byte, what `seal_json` wrote, or, with a key, was not sealed with this key.
    Without a key an HMAC is not checked.
    """
    try:
        fields = decode_json(content)
    except ValueError as error:
        raise damaged(where, "it is no JSON") from error
    if not isinstance(fields, dict):
        raise damaged(where, "it is no JSON object")
    version = fields.get("format")
    known = format_version if isinstance(format_version, tuple) else (format_version,)
    if version not in known:
        raise ForeignStateError(
            f"{where}: format version {version!r}, this q2v reads {' and '.join(map(str, known))}",
            remedy="use the q2v that wrote it",
        )
    fields.pop("sha256", None)
    if not _is_as_sealed(content, fields):
        raise damaged(where, "it does not match its own digest")
    code = fields.pop("hmac", None)
    if key is not None and not key.fits(encode_canonical_json(fields), code):
        raise _not_sealed_with(where, code)
    return fields


def _is_as_sealed(content: bytes, fields: dict[str, object]) -> bool:
    try:
        return content == _with_digest(fields)
    except ValueError:  # nested deeper than anything q2v writes
        return False


def _not_sealed_with(where: str, code: object) -> ArtefactDamagedError:
    found = "it carries no HMAC" if code is None else "its HMAC is not that of the configured key"
    return ArtefactDamagedError(
        f"{where}: {found}, expected one of the key of snapshot.hmac_key",
        remedy="if the file was sealed without this key, unset snapshot.hmac_key or take a new "
        "snapshot; otherwise another writer changed it: restore it from a copy",
    )


def damaged(where: str, why: str, *, remedy: str | None = None) -> ArtefactDamagedError:
    """The error for a file of q2v that cannot be trusted."""
    return ArtefactDamagedError(
        f"{where}: {why}",
        remedy=remedy or "restore the file from a copy, or take a new snapshot",
    )
