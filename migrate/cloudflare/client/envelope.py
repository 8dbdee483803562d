"""Read the envelope around every JSON answer of the Cloudflare API (docs/services.md)."""

from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class ApiError:
    """One entry of `errors`."""

    code: int  # >= 1000
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An answer that is a JSON object; whether it is a success is another question."""

    success: bool | None  # None when missing or no bool
    errors: tuple[ApiError, ...]
    errors_listed: bool  # whether `errors` is a list at all
    result: object
    result_info: dict[str, object]

    @property
    def is_service_form(self) -> bool:
        """Whether it has the two members of every answer of the API, a refusal included.

        A proxy, an edge page or another server answers in other forms, JSON among them.
        """
        return self.success is not None and self.errors_listed


def decode_envelope(body: bytes) -> Envelope | None:
    """Parse the body of an answer; None when it is no JSON object.

    Strict on purpose: a byte order mark, NaN or a lone surrogate makes an answer unusable.
    """
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(decoded, dict):
        return None
    success = decoded.get("success")
    info = decoded.get("result_info")
    return Envelope(
        success=success if isinstance(success, bool) else None,
        errors=_read_errors(decoded.get("errors")),
        errors_listed=isinstance(decoded.get("errors"), list),
        result=decoded.get("result"),
        result_info=info if isinstance(info, dict) else {},
    )


def _read_errors(raw: object) -> tuple[ApiError, ...]:
    """Entries without an integer code are left out: they decide nothing."""
    if not isinstance(raw, list):
        return ()
    return tuple(
        ApiError(code, str(entry.get("message", "")))
        for entry in raw
        if isinstance(entry, dict) and isinstance(code := entry.get("code"), int)
    )
