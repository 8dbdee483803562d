"""Which settings each command reads: a command has the flags of these, and no other flags.

A command that comes to read another setting gets it here. `tests/q2v/test_reads.py` runs every
command and compares what it really reads with this table, in both directions. The environment and
migration.toml may set any setting for every command: one migration has one file.
"""

_SEAL = ("snapshot.hmac_key",)
SOURCE = (
    "source.url",
    "source.path",
    "source.api_key",
    "source.collection",
    "source.transport",
    "source.compression",
    "tls.ca_file",
)
_ACCOUNT = (
    "target.account_id",
    "target.api_token",
    "target.api_base_url",
    "target.allow_other_host",
    "tls.ca_file",
    "limits.requests_per_5min",
)
_TARGET = (*_ACCOUNT, "target.vector_index", "target.kv_namespace_id")
_SHAPE = ("source.vector_name", "mapping.dimensions", "mapping.reduce")
_MAPPING = (
    "mapping.id_template",
    "mapping.group_key",
    "mapping.order_key",
    "mapping.hash_key",
    "mapping.hash_of",
    "mapping.hash_mismatch",
    "mapping.nulls",
    "mapping.oversize_metadata",
    "kv.key_template",
    "kv.counter_key",
)
_PLANNING = (
    *_SHAPE,
    *_MAPPING,
    "target.kv_jurisdiction",
    "target.metadata_indexes",
    "limits.vectors_per_upload",
    "limits.body_bytes",
    "limits.uploads_in_flight",
    "limits.reads_in_flight",
    "limits.max_quarantine",
    "limits.deadline_s",
    "limits.content_full_max",
    "limits.content_sample",
    "limits.poll_s",
)

READS: dict[str, tuple[str, ...]] = {
    "plan": (*SOURCE, *_TARGET, *_PLANNING, "snapshot.page_points", *_SEAL),
    "provision": (
        *SOURCE,
        *_TARGET,
        *_SHAPE,
        "target.kv_jurisdiction",
        "target.metadata_indexes",
        "limits.settle_timeout_s",
        "limits.poll_s",
        *_SEAL,
    ),
    "snapshot": (*SOURCE, "snapshot.page_points", "snapshot.readers", *_SEAL),
    "migrate": (
        "source.collection",
        *_TARGET,
        *_PLANNING,
        "kv.ttl_s",
        "limits.settle_timeout_s",
        *_SEAL,
    ),
    "reconcile": (
        *SOURCE,
        *_TARGET,
        "target.metadata_indexes",
        "limits.content_full_max",
        "limits.content_sample",
        "limits.poll_s",
        "limits.kv_settle_s",
        "limits.reads_in_flight",
        "snapshot.page_points",
        *_SEAL,
    ),
    "rollback": (
        *_TARGET,
        "target.metadata_indexes",
        "limits.settle_timeout_s",
        "limits.poll_s",
        "limits.kv_settle_s",
        "limits.reads_in_flight",
        *_SEAL,
    ),
    "status": ("target.metadata_indexes", *_SEAL),
    "verify": _SEAL,
    # The rehearsal has a target and delays of its own.
    "rehearse": (
        *SOURCE,
        *_SHAPE,
        *_MAPPING,
        "kv.ttl_s",
        "target.metadata_indexes",
        "limits.vectors_per_upload",
        "limits.body_bytes",
        "limits.uploads_in_flight",
        "limits.reads_in_flight",
        "limits.max_quarantine",
        "snapshot.page_points",
    ),
}
