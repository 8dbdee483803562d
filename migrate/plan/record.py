"""The plan of a run: every decision, frozen before the first write."""

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

from migrate.errors import UsageError
from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.transforms.table import TableError
from migrate.mapping.values import ValueRules
from migrate.model.canonical import encode_canonical_json
from migrate.model.hmac_key import SealKey
from migrate.model.records import VectorIndex
from migrate.model.sealed_json import damaged, seal_json, unseal_json

PLAN_FORMAT = 2
CATCH_UP_FORMAT = 3  # the plan of a run that continues from another one
PATHS = 2  # added to either where the mapping finds fields inside others, or numbered files
NAMESPACES = 4  # added in its place where the mapping puts vectors into namespaces
SHARDS = 6  # added in its place where the files are divided over several indexes
FORMATS = tuple(
    plain + more
    for plain in (PLAN_FORMAT, CATCH_UP_FORMAT)
    for more in (0, PATHS, NAMESPACES, SHARDS)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsFile:
    """Size and SHA-256 of targets.parquet, which has the mapped rows."""

    rows: int
    bytes: int
    sha256: str


NO_TARGETS = TargetsFile(rows=0, bytes=0, sha256="")  # of a plan without a run


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRun:
    """The completed run that a catch-up continues from, and the file of what it changes."""

    snapshot_id: str
    run_id: str
    fingerprint: str  # of its plan
    kv_expires_from: str  # RFC 3339: entries that are not written again keep their expiry
    written: int  # vectors that differ from the base's
    removed: int  # vectors of the base that are no longer wanted
    bytes: int  # of difference.parquet
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """The decisions of a run: snapshot, target, rules, counts.

    A run with a `base` writes only what differs from the base's target rows; all counts are of the
    whole.
    """

    run_id: str
    tool: str
    created_at: str  # RFC 3339
    snapshot_id: str
    content_root: str
    points: int
    vectors: int  # points that move
    files: int  # KV entries of the file index
    quarantined: dict[str, int]  # reason -> points
    quarantine_sha256: str
    quarantine_cap: int  # points that may be left out, those refused at upload included
    waived: tuple[str, ...]  # reasons that do not count as a failure
    changes: dict[str, int]  # declared changes of metadata -> points
    into_non_empty: bool
    vector_target: dict[str, str]  # identity, without secrets
    kv_target: dict[str, str]
    index: VectorIndex
    mapping: MappingRules
    values: ValueRules
    writes: WriteRules
    targets: TargetsFile  # the mapped rows
    # Property -> type of the metadata indexes that existed before the first upload; None in plans
    # of older versions. It does not affect what is written.
    metadata_indexes: dict[str, str] | None = None
    base: BaseRun | None = None
    # Index -> points of its run, of the other indexes that the files are divided over; {} where one
    # index takes all.
    elsewhere: dict[str, int] = field(default_factory=dict)

    @property
    def format(self) -> int:
        """The lowest that can say it: an older q2v refuses a higher one, and misreads nothing."""
        plain = PLAN_FORMAT if self.base is None else CATCH_UP_FORMAT
        if self.mapping.shards is not None:
            return plain + SHARDS
        if self.mapping.namespace:
            return plain + NAMESPACES
        return plain + (PATHS if self.mapping.reaches_inside else 0)

    @property
    def vectors_to_write(self) -> int:
        """Vectors that the first round uploads."""
        return self.vectors if self.base is None else self.base.written

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides what is written where.

        Two runs with equal fingerprints would write the same bytes to the same place.
        """
        decided = {
            "content_root": self.content_root,
            "vector_target": self.vector_target,
            "kv_target": self.kv_target,
            "index": asdict(self.index),
            "mapping": self.mapping.record(),
            "values": asdict(self.values),
            "writes": asdict(self.writes),
            "quarantine": self.quarantine_sha256,
            "targets": self.targets.sha256,
            **({} if self.base is None else {"base": asdict(self.base)}),
        }
        return hashlib.sha256(encode_canonical_json(decided)).hexdigest()

    @property
    def points_elsewhere(self) -> int:
        """The points of other vector indexes."""
        return sum(self.elsewhere.values())

    @property
    def own_points(self) -> int:
        """The points that the run moves or quarantines: all but those of other indexes."""
        return self.points - self.points_elsewhere

    @property
    def unwaived(self) -> int:
        """Number of quarantined points whose reason is not waived."""
        return sum(n for reason, n in self.quarantined.items() if reason not in self.waived)


def encode_plan(plan: RunPlan, key: SealKey | None = None) -> bytes:
    """The content of plan.json, sealed by its own digest and, with a key, an HMAC."""
    fields = {
        "format": plan.format,
        **asdict(plan),
        "mapping": plan.mapping.record(),
        "fingerprint": plan.fingerprint,
    }
    if plan.base is None:
        del fields["base"]
    if plan.mapping.shards is None:
        del fields["elsewhere"]
    return seal_json(fields, key)


def decode_plan(content: bytes, *, where: str, key: SealKey | None = None) -> RunPlan:
    """The inverse of `encode_plan`; raises as `unseal_json` does."""
    fields: dict[str, Any] = unseal_json(content, where=where, format_version=FORMATS, key=key)
    version = fields.pop("format")
    fingerprint = fields.pop("fingerprint", None)
    base = fields.pop("base", None)
    try:
        plan = RunPlan(
            **{
                **fields,
                "waived": tuple(fields["waived"]),
                "index": VectorIndex(**fields["index"]),
                "mapping": MappingRules.from_record(fields["mapping"]),
                "values": ValueRules(**fields["values"]),
                "writes": WriteRules(**fields["writes"]),
                "targets": TargetsFile(**fields["targets"]),
                "base": None if base is None else BaseRun(**base),
            }
        )
    except (KeyError, TypeError, TableError, UsageError) as error:
        raise damaged(where, f"a field is missing or of another type ({error})") from error
    if plan.format != version:
        raise damaged(where, f"format {version} with the fields of format {plan.format}")
    if plan.fingerprint != fingerprint:
        raise damaged(where, "its fingerprint does not match its decisions")
    return plan
