"""Every setting, declared once: name, type, unit, default, range and meaning."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from migrate.model import limits
from q2v.commands.secret import SecretPlace
from q2v.declaration import declare
from q2v.forms import (
    COLLECTION_FORM,
    FIELD_FORM,
    ID_TEMPLATE_FORM,
    INDEX_NAME_FORM,
    KEY_FORM,
    KEY_TEMPLATE_FORM,
    NAME_FORM,
    TRUNCATE,
    URL_FORM,
    are_metadata_indexes,
    is_collection,
    is_field,
    is_id_template,
    is_index_name,
    is_key,
    is_key_template,
    is_metadata_index,
    is_oversize_rule,
    is_plain_name,
    is_url,
)

PUBLIC_API = "https://api.cloudflare.com/client/v4"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """Where the points come from: a server (`url`) or an embedded store (`path`)."""

    url: str | None = declare(
        None,
        "Address of the Qdrant server.",
        environment="QDRANT_URL",
        flag="--source-url",
        form=URL_FORM,
        fits=is_url,
        shown=False,
    )
    path: Path | None = declare(  # noqa: RUF009 - makes a field, shares no value
        None,
        "Folder of an embedded Qdrant store, or a stopped server's folder collections/NAME, "
        "instead of a running server. It is read from a copy under --dir.",
        environment="QDRANT_PATH",
        flag="--source-path",
    )
    api_key: SecretPlace | None = declare(  # noqa: RUF009 - makes a field, shares no value
        None,
        "Key of the Qdrant server; a read-only one is enough.",
        environment="QDRANT_API_KEY",
    )
    collection: str | None = declare(
        None,
        "Collection to move.",
        environment="QDRANT_COLLECTION",
        flag="--collection",
        form=COLLECTION_FORM,
        fits=is_collection,
    )
    vector_name: str = declare(
        "",
        "Which vector of a point moves; needed when the vectors are named.",
        environment="Q2V_VECTOR_NAME",
        flag="--vector-name",
        empty=True,
    )
    transport: Literal["auto", "grpc", "rest"] = declare(
        "auto", "How to talk to the server.", environment="Q2V_TRANSPORT", flag="--transport"
    )
    compression: Literal["identity", "gzip"] = declare(
        "identity",
        "What the server's answers are packed with: identity is not at all; gzip is for a slow "
        "line, and costs the server several times the work.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """Where the vectors go."""

    account_id: str | None = declare(
        None,
        "Cloudflare account.",
        environment="CLOUDFLARE_ACCOUNT_ID",
        flag="--account-id",
        form=NAME_FORM,
        fits=is_plain_name,
    )
    api_token: SecretPlace | None = declare(  # noqa: RUF009 - makes a field, shares no value
        None,
        "Cloudflare API token; which rights it needs is in the runbook.",
        environment="CLOUDFLARE_API_TOKEN",
    )
    api_base_url: str = declare(
        PUBLIC_API,
        "Address of the Cloudflare API.",
        environment="CLOUDFLARE_API_BASE_URL",
        flag="--api-base-url",
        form=URL_FORM,
        fits=is_url,
        shown=False,
    )
    allow_other_host: bool = declare(
        False,
        "Send the token to a host that is neither the public API nor this machine.",
        flag="--allow-other-host",
        flag_only=True,
    )
    vector_index: str | None = declare(
        None,
        "Vectorize index that gets the vectors.",
        environment="Q2V_VECTOR_INDEX",
        flag="--vector-index",
        form=INDEX_NAME_FORM,
        fits=is_index_name,
    )
    kv_namespace_id: str | None = declare(
        None,
        "Workers KV namespace that gets the file index and the counter.",
        environment="Q2V_KV_NAMESPACE_ID",
        flag="--kv-namespace-id",
        form=NAME_FORM,
        fits=is_plain_name,
    )
    kv_jurisdiction: Literal["eu", "us", "fedramp"] | None = declare(
        None,
        "Where the KV namespaces are stored that provision creates; it never changes afterwards, "
        "and a namespace of another jurisdiction is refused.",
        flag="--kv-jurisdiction",
        unset="anywhere",
    )
    metadata_indexes: tuple[str, ...] = declare(
        ("file_id:string",),
        "Metadata indexes, created before the first upload.",
        form=f"name:type with type string, number or boolean; "
        f"names differ, at most {limits.METADATA_INDEXES_MAX}",
        fits=is_metadata_index,
        fits_list=are_metadata_indexes,
    )

    @property
    def metadata_index_types(self) -> dict[str, str]:
        """Property name -> type."""
        return dict(entry.split(":", 1) for entry in self.metadata_indexes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """How a point becomes a vector."""

    id_template: str = declare(
        "{file_id}_{chunk_index}",
        "Id of a vector, from payload fields; {point_id} is the id in Qdrant.",
        flag="--id-template",
        form=ID_TEMPLATE_FORM,
        fits=is_id_template,
    )
    group_key: str = declare(
        "file_id",
        "Payload field that names the file; empty: no KV file index.",
        empty=True,
        form=FIELD_FORM,
        fits=is_field,
    )
    order_key: str = declare(
        "chunk_index",
        "Payload field with the chunk's number within its file; empty: unordered.",
        empty=True,
        form=FIELD_FORM,
        fits=is_field,
    )
    hash_key: str = declare(
        "chunk_hash",
        "Payload field with the chunk's SHA-256 in hex; empty: not required.",
        empty=True,
        form=FIELD_FORM,
        fits=is_field,
    )
    hash_of: str = declare(
        "",
        "Payload field with the text that the hash is of; empty: hashes are not checked.",
        empty=True,
        form=FIELD_FORM,
        fits=is_field,
    )
    hash_mismatch: Literal["warn", "quarantine"] = declare(
        "warn",
        "What to do with a point whose hash is not that of its text: count it, or leave it behind.",
    )
    dimensions: int | None = declare(
        None,
        "Values per vector in the target.",
        environment="Q2V_DIMENSIONS",
        flag="--dimensions",
        minimum=limits.DIMENSIONS_MIN,
        maximum=limits.DIMENSIONS_MAX,
        unset="as in the source",
    )
    reduce: Literal["none", "matryoshka"] = declare(
        "none",
        "How values are reduced to fewer dimensions: matryoshka keeps the first ones and "
        "renormalises, which is right only for models trained for it.",
        environment="Q2V_REDUCE",
        flag="--reduce",
    )
    nulls: Literal["quarantine", "leave_out"] = declare(
        "quarantine",
        "What to do with a payload field that is null, which metadata cannot hold: quarantine the "
        "point, or leave the field out. A null inside an object or a list is not reached: it "
        "quarantines the point with either value.",
        flag="--nulls",
    )
    oversize_metadata: str = declare(
        "quarantine",
        f"What to do with metadata beyond {limits.METADATA_BYTES_MAX:,} B: quarantine the point, "
        "or cut one text field.",
        flag="--oversize-metadata",
        form=f'"quarantine" or "truncate:<field>" with {FIELD_FORM}',
        fits=is_oversize_rule,
    )

    @property
    def truncate_field(self) -> str | None:
        """The text field that is cut; None: the point is quarantined."""
        if self.oversize_metadata.startswith(TRUNCATE):
            return self.oversize_metadata.removeprefix(TRUNCATE)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class KvSettings:
    """How the KV index is written."""

    key_template: str = declare(
        "file:{file_id}",
        "KV key of a file.",
        form=KEY_TEMPLATE_FORM,
        fits=is_key_template,
    )
    counter_key: str = declare(
        "_vector_count",
        "KV key of the counter: the number of all vectors in the index after the run, those that "
        "were there before included.",
        form=KEY_FORM,
        fits=is_key,
    )
    ttl_s: int | None = declare(
        None,
        "Life of KV entries; with one, entries vanish while the vectors stay.",
        unit="seconds",
        minimum=limits.KV_TTL_S_MIN,
        maximum=limits.KV_TTL_S_MAX,
        unset="for ever",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much, how fast, how long."""

    requests_per_5min: int = declare(
        900,
        "Requests to Vectorize and KV together in any five minutes.",
        flag="--requests-per-5min",
        unit="requests",
        minimum=1,
        maximum=limits.REQUESTS_PER_WINDOW_MAX,
    )
    vectors_per_upload: int = declare(
        2_500,
        "Vectors in one upload.",
        unit="vectors",
        minimum=1,
        maximum=limits.VECTORS_PER_UPLOAD_MAX,
    )
    body_bytes: int = declare(
        40_000_000,
        "Size of one upload.",
        unit="bytes",
        minimum=limits.UPLOAD_BYTES_MIN,
        maximum=limits.UPLOAD_BYTES_MAX,
    )
    uploads_in_flight: int = declare(
        2,
        "Uploads that are made and sent at once, each by a process of its own.",
        unit="uploads",
        minimum=1,
        maximum=limits.UPLOADS_IN_FLIGHT_MAX,
    )
    settle_timeout_s: float = declare(
        900.0,
        "How long to wait until accepted vectors are processed; grows with their number.",
        unit="seconds",
        minimum=0,
        maximum=86_400,
    )
    poll_s: float = declare(
        5.0,
        "Pause between two looks at what has been processed.",
        unit="seconds",
        minimum=0.01,
        maximum=300,
    )
    kv_settle_s: float = declare(
        90.0,
        "How long KV may show former values after a write.",
        unit="seconds",
        minimum=0,
        maximum=3_600,
    )
    max_quarantine: int | None = declare(
        None,
        "Points that may be left out before the run stops.",
        flag="--max-quarantine",
        unit="points",
        minimum=0,
        maximum=limits.SETTING_COUNT_MAX,
        unset="0.1 % of the points, at least 10, at most 1,000",
    )
    content_full_max: int = declare(
        20_000,
        "Up to this many vectors reconcile reads every content back, beyond it a sample.",
        flag="--content-full-max",
        unit="vectors",
        minimum=0,
        maximum=limits.SETTING_COUNT_MAX,
    )
    content_sample: int = declare(
        2_400,
        "Size of that sample, drawn by a recorded seed.",
        flag="--content-sample",
        unit="vectors",
        minimum=1,
        maximum=limits.SETTING_COUNT_MAX,
    )
    reads_in_flight: int = declare(
        8,
        "Requests that read vectors at once; the request budget holds for all of them together.",
        unit="requests",
        minimum=1,
        maximum=limits.READS_IN_FLIGHT_MAX,
    )
    deadline_s: float | None = declare(
        None,
        "Stop before the next write after this time; the next run resumes there.",
        flag="--deadline-s",
        unit="seconds",
        minimum=1,
        maximum=limits.DEADLINE_S_MAX,
        unset="none",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Whom encrypted connections trust: to Qdrant over either protocol, and to Cloudflare."""

    ca_file: Path | None = declare(  # noqa: RUF009 - makes a field, shares no value
        None,
        "PEM file of authorities that are trusted besides the usual ones, by every connection. "
        "The usual ones are those of SSL_CERT_FILE or SSL_CERT_DIR, else the public ones.",
        form="a PEM file",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSettings:
    """How the source is read."""

    page_points: int = declare(
        1_000,
        "Points asked for in one page.",
        flag="--page-points",
        unit="points",
        minimum=1,
        maximum=10_000,
    )
    readers: int = declare(
        3,  # on two cores, while one waits for the disk or the source, the others have them
        "Ranges of ids that are read at once from a server.",
        flag="--readers",
        unit="readers",
        minimum=1,
        maximum=16,
    )
    hmac_key: SecretPlace | None = declare(  # noqa: RUF009 - makes a field, shares no value
        None,
        "Key that manifests and plans are sealed with (HMAC-SHA256) and have to fit, at least 32 "
        "characters.",
    )
