"""Warnings about the rights of a key or token, from its own text, without a request."""

import base64
import binascii

from migrate.model.canonical import decode_json

_JWT_PARTS = 3
_READ = "r"
# Prefixes that the target's credentials have had since 2026; older tokens have none.
_TARGET_PREFIXES = {
    "cfk_": "a global API key, which may do everything its user may",
    "cfoat_": "the login of wrangler, which may do more than a migration needs and soon ends",
}


def source_key_notes(key: str, collection: str) -> tuple[str, ...]:
    """Warnings about a source key that may do more than read this one collection.

    A JWT names its rights; its signature is not checked. A plain key does not name any.
    """
    claims = _jwt_claims(key)
    if claims is None:
        return (
            "source.api_key is a plain key, which does not show whether it can write; a read-only "
            "one is enough",
        )
    notes = _access_notes(claims.get("access"), collection)
    if "exp" not in claims:
        notes = (*notes, "source.api_key never expires")
    return notes


def _access_notes(access: object, collection: str) -> tuple[str, ...]:
    match access:
        case str() if access == _READ:
            return ("source.api_key can read every collection, not only this one",)
        case list():
            return _collection_notes(access, collection)
        case _:  # "m", and a token without the claim, may do everything
            return ("source.api_key can write and manage the whole server: use a read-only one",)


def _collection_notes(access: list[object], collection: str) -> tuple[str, ...]:
    notes, others = [], 0
    for each in access:
        rights = each if isinstance(each, dict) else {}
        if rights.get("access") != _READ:
            notes.append(
                f"source.api_key can write to collection '{rights.get('collection')}': use a "
                "read-only one"
            )
        elif rights.get("collection") != collection:
            others += 1
    if others:
        notes.append(f"source.api_key can read {others} other collections")
    return tuple(notes)


def _jwt_claims(key: str) -> dict[str, object] | None:
    parts = key.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    try:
        head, claims = (_decode_part(part) for part in parts[:2])
    except (binascii.Error, ValueError):
        return None
    return claims if isinstance(head, dict) and "alg" in head and isinstance(claims, dict) else None


def _decode_part(part: str) -> object:
    return decode_json(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def target_token_notes(token: str, expires_on: str | None) -> tuple[str, ...]:
    """Warnings about the target's token; `expires_on` is its expiry as the service reports it."""
    notes = tuple(
        f"target.api_token is {what}: create one for Vectorize and Workers KV Storage alone"
        for prefix, what in _TARGET_PREFIXES.items()
        if token.startswith(prefix)
    )
    if expires_on is None:
        notes = (*notes, "target.api_token has no expiry: give it one that outlasts the window")
    return notes
