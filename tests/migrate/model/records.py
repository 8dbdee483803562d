"""A manifest and a plan with every field filled, for tests of the sealed files."""

from migrate.mapping.rules import WriteRules
from migrate.mapping.values import ValueRules
from migrate.model.records import VectorIndex
from migrate.plan.record import RunPlan, TargetsFile
from migrate.snapshot.manifest import PartRecord, SnapshotManifest
from tests.harness.strategies import RULES, SPECS

MANIFEST = SnapshotManifest(
    snapshot_id="20261101T000000Z-abcdef-00",
    tool="q2v 0.1.0",
    source={"kind": "memory", "collection": "points"},
    collection="points",
    server="qdrant 1.16.0",
    config={"threshold": 1e-7, "é": [1, 1.0, None, {"deep": True}]},
    vectors=SPECS,
    points=3,
    parts=(
        PartRecord(ordinal=0, rows=2, bytes=1000, sha256="a" * 64, first_id="1", last_id="7"),
        PartRecord(ordinal=1, rows=1, bytes=900, sha256="b" * 64, first_id="9", last_id="9"),
    ),
    set_digest="c" * 64,
    count_start=3,
    count_end=3,
    second_reading="digest",
    started_at="2026-11-01T00:00:00+00:00",
    sealed_at="2026-11-01T00:01:00+00:00",
)

PLAN = RunPlan(
    run_id="000-20261101T000000Z",
    tool="q2v 0.1.0",
    created_at="2026-11-01T00:02:00+00:00",
    snapshot_id=MANIFEST.snapshot_id,
    content_root=MANIFEST.content_root,
    points=3,
    vectors=2,
    files=1,
    quarantined={"bad_key": 1},
    quarantine_sha256="d" * 64,
    quarantine_cap=10,
    waived=("zero_vector", "bad_key"),
    changes={"null_left_out:page": 2},
    into_non_empty=False,
    vector_target={"host": "api.cloudflare.com", "index": "chunks"},
    kv_target={"host": "api.cloudflare.com", "namespace": "n" * 32},
    index=VectorIndex(
        name="chunks", dimensions=1536, metric="cosine", created_on="2026-10-31T00:00:00Z"
    ),
    mapping=RULES,
    values=ValueRules(
        vector_name="",
        source_dimensions=3072,
        dimensions=1536,
        reduce="matryoshka",
        metric="cosine",
    ),
    writes=WriteRules(
        vectors_per_upload=1000, body_bytes=40_000_000, counter_key="_vector_count", ttl_s=None
    ),
    targets=TargetsFile(rows=2, bytes=2_000, sha256="e" * 64),
)
