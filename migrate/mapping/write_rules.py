"""How the target is written: frozen in the plan, because batches are cut by it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRules:
    """How the target is written; frozen, because batches are cut by it."""

    vectors_per_upload: int
    body_bytes: int  # per upload
    counter_key: str
    ttl_s: int | None  # of KV entries; None = no expiry
