"""Why a point is left out; docs/formats.md shows the same texts."""

from migrate.mapping.payload import Reason

# The point ..., and what helps.
REASONS: dict[Reason, tuple[str, str]] = {
    Reason.VECTOR_MISSING: (
        "has no such vector",
        "name the vector that the points have with source.vector_name, or embed these points",
    ),
    Reason.DIM_MISMATCH: (
        "has values of another length than the collection declares",
        "embed the point again in the source",
    ),
    Reason.NON_FINITE: (
        "has NaN, infinity or null among its values",
        "embed the point again in the source",
    ),
    Reason.ZERO_VECTOR: (
        "has only zeros, which have no direction",
        "embed the point again in the source, or delete it there",
    ),
    Reason.FIELD_MISSING: (
        "lacks a field that id, namespace, file, order or hash need",
        "the detail names the field: correct group_key, order_key, hash_key, id_template or "
        "namespace under [mapping], or add the field in the source",
    ),
    Reason.FIELD_TYPE: (
        'has it with another type (true is not 1, "1" is not 1)',
        "an integer as file id: mapping.group_type; else a rule of mapping.transform "
        "(docs/transforms.md), or correct the field in the source",
    ),
    Reason.FIELD_RANGE: (
        "has it empty, negative, too large, or of the wrong length",
        "correct the field in the source, or name another one under [mapping]",
    ),
    Reason.DUPLICATE: (
        "equals an earlier point with the same target id, which moves",
        "nothing is lost: accept it with `q2v migrate --waive duplicate`",
    ),
    Reason.ID_CONFLICT: (
        "shares its target id with a different point; none of them moves",
        "put a field that tells them apart into mapping.id_template",
    ),
    Reason.ID_TOO_LONG: (
        "gets an id of more than 64 bytes, or an empty one",
        'set mapping.long_ids = "hash:FIELD" (docs/long-ids.md), or shorten mapping.id_template',
    ),
    Reason.NAMESPACE_TOO_LONG: (
        "gets a namespace of more than 64 bytes",
        "name a shorter field with mapping.namespace (docs/namespaces.md)",
    ),
    Reason.FILE_IN_NAMESPACES: (
        "belongs to a file whose points name several namespaces; none of them moves",
        "put the tenant into the name of the file: another group_key (docs/namespaces.md)",
    ),
    Reason.METADATA_TOO_LARGE: (
        "has more than 10,240 bytes of metadata",
        "drop or shorten fields with rules of mapping.transform, or name the field to cut with "
        "mapping.oversize_metadata",
    ),
    Reason.BAD_KEY: (
        'has a key that is empty, holds `.` or `"`, or starts with `$`',
        "rename or flatten the field with a rule of mapping.transform (docs/transforms.md)",
    ),
    Reason.UNREPRESENTABLE: (
        "has null, nesting below one level, other lists than of text, integers beyond 2^53 - 1 "
        "(which other numbers may be read as), or a payload that JSON libraries refuse",
        "null: mapping.nulls; the others: flatten or to_text in mapping.transform "
        "(docs/transforms.md)",
    ),
    Reason.FIELD_TAKEN: (
        "a rule of `mapping.transform` would overwrite this field",
        "give the rule another name to write to, or drop the field before it",
    ),
    Reason.INVALID_UNICODE: (
        "has a lone surrogate in a text",
        "correct the text in the source, or drop the field with a rule of mapping.transform",
    ),
    Reason.DUPLICATE_KEY: (
        "has a payload that names a key twice; `irregular` in the snapshot keeps its text",
        "write the payload again in the source",
    ),
    Reason.HASH_MISMATCH: (
        "has a hash that is not the one of its text, and `mapping.hash_mismatch` is `quarantine`",
        'embed the point again, or set mapping.hash_mismatch = "warn"',
    ),
    Reason.KV_KEY: (
        "gets a KV key of more than 512 bytes, or one with white space",
        "change kv.key_template or group_key, or rename the file in the source",
    ),
    Reason.KV_VALUE: (
        "belongs to a file whose list of ids exceeds 25 MiB",
        "name a finer field with group_key, or shorten mapping.id_template",
    ),
    Reason.UPLOAD_TOO_LARGE: (
        "makes a line larger than an upload may be (`limits.body_bytes`)",
        "raise limits.body_bytes",
    ),
    Reason.UNREADABLE: (
        "could not be read from the source and was left out of the snapshot on request (`q2v "
        "snapshot --leave-unreadable`)",
        "mend or delete the point in the source, then take a new snapshot",
    ),
    Reason.REFUSED: (
        "was refused by the target, alone, at upload (HTTP 400, 413 or 422)",
        "`q2v status` names it with the answer of the target; `q2v migrate --retry-refused` "
        "sends it once more",
    ),
}
