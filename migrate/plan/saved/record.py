"""The file of a saved plan: what was agreed on, sealed."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from migrate.errors import ArtefactDamagedError, UsageError
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.hmac_key import SealKey
from migrate.model.sealed_json import damaged, seal_json, unseal_json
from migrate.plan.saved.holdings import Holdings

SAVED_FORMAT = 1
KIND = "plan saved by q2v"
BYTES_MAX = 16 * 1024 * 1024
_REMEDY = (
    "name a saved plan as it was written, or a snapshot; or run `q2v plan --out FILE` again and "
    "agree on it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSource:
    """What is to be moved."""

    collection: str
    place: str  # address or folder, without secrets
    filter: str | None  # None: the whole collection
    snapshot_id: str | None  # None: the plan was made from the source itself
    content_root: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget:
    """Where it is to go, and how that place was."""

    host: str
    account: str  # fingerprint
    vector_index: str
    kv_namespace: str | None  # None: `q2v provision` was to create one
    dimensions: int
    metric: str
    created_on: str | None  # of the index; None: `q2v provision` was to create it
    holds: Holdings


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPoints:
    """The counts, and a digest of what is written."""

    points: int
    vectors: int
    files: int
    quarantined: dict[str, int]  # reason -> points that are left out
    rows_sha256: str  # `digest_rows`


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """A plan that `q2v migrate FILE` carries out, or refuses to."""

    tool: str
    created_at: str  # RFC 3339
    source: PlannedSource
    target: PlannedTarget
    counts: PlannedPoints
    settings: dict[str, str]  # those that decide what is written: name -> value as JSON
    allow_cast: bool = False
    allow_empty: bool = False
    waived_indexes: tuple[str, ...] = ()
    shown: dict[str, object] = field(default_factory=dict)  # what `q2v plan --json` printed

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides; the same decisions have the same one."""
        decided = {
            "source": asdict(self.source),
            "target": asdict(self.target),
            "counts": asdict(self.counts),
            "settings": self.settings,
            "allow_cast": self.allow_cast,
            "allow_empty": self.allow_empty,
            "waived_indexes": self.waived_indexes,
        }
        return hashlib.sha256(encode_canonical_json(decided)).hexdigest()


def encode_saved(plan: SavedPlan, key: SealKey | None = None) -> bytes:
    """The content of the file, sealed by its own digest and, with a key, an HMAC."""
    fields = {
        "format": SAVED_FORMAT,
        "kind": KIND,
        **asdict(plan),
        "fingerprint": plan.fingerprint,
    }
    return seal_json(fields, key)


def decode_saved(content: bytes, *, where: str, key: SealKey | None = None) -> SavedPlan:
    """The inverse of `encode_saved`.

    Raises UsageError for a file of another kind, ArtefactDamagedError for a saved plan that was
    changed, ForeignStateError for another format.
    """
    _check_kind(content, where)
    try:
        unseal_json(content, where=where, format_version=SAVED_FORMAT)
    except ArtefactDamagedError as error:
        raise ArtefactDamagedError(str(error), remedy=_REMEDY) from error
    fields: dict[str, Any] = unseal_json(content, where=where, format_version=SAVED_FORMAT, key=key)
    fingerprint = fields.pop("fingerprint", None)
    try:
        plan = SavedPlan(
            **{
                **{name: value for name, value in fields.items() if name not in {"format", "kind"}},
                "source": PlannedSource(**fields["source"]),
                "target": _target(fields["target"]),
                "counts": PlannedPoints(**fields["counts"]),
                "waived_indexes": tuple(fields["waived_indexes"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise damaged(
            where, f"a field is missing or of another type ({error})", remedy=_REMEDY
        ) from error
    if plan.fingerprint != fingerprint:
        raise damaged(where, "its fingerprint does not match its decisions", remedy=_REMEDY)
    return plan


def _target(fields: Mapping[str, Any]) -> PlannedTarget:
    return PlannedTarget(**{**fields, "holds": Holdings(**fields["holds"])})


def _check_kind(content: bytes, where: str) -> None:
    """A byte that was changed anywhere leaves the kind readable, or is found by the seal."""
    try:
        fields = decode_json(content)
    except ValueError as error:
        raise damaged(where, "it is no JSON, so it is no saved plan", remedy=_REMEDY) from error
    if not isinstance(fields, dict) or "kind" not in fields:
        raise UsageError(
            f"{where}: found a file of another kind, expected one of `q2v plan --out FILE`",
            remedy="name a saved plan or a snapshot; without a name `q2v migrate` takes the newest "
            "snapshot",
        )
