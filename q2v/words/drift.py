"""What reconcile and monitor find; docs/formats.md shows the same texts."""

from reconcile.monitor.monitor import CLASSES

_REPAIR = "`q2v migrate` writes it again, then `q2v reconcile` compares"
_OTHERS = (
    "read the id file; remove what is not wanted, or accept it: q2v removes nothing that it has "
    "not written"
)
_LOOK_AGAIN = "`q2v reconcile` looks again: a listing or a read of the target lags behind"
_MONITOR = "the id file below monitor/ names them; correct the Worker that writes, then look again"

# What it is, and what to do.
DRIFT: dict[str, tuple[str, str]] = {
    "missing": ("a vector of the run that the vector index does not list", _REPAIR),
    "extra": (
        "a vector in the index that neither this run nor what was there before names",
        _OTHERS,
    ),
    "mismatched": (
        "a vector with other values, metadata or namespace than were sent; see differs.jsonl",
        f"{_REPAIR}; `foreign` ones are kept unless --force names them",
    ),
    "unreadable": ("a vector that is listed and could not be read back", _LOOK_AGAIN),
    "unlisted": ("a vector that can be read and is not listed", _LOOK_AGAIN),
    "foreign": (
        "a mismatched vector with something that q2v never writes: another writer was there",
        "`q2v migrate --force FILE` overwrites what FILE names",
    ),
    "metadata_indexes": (
        "metadata indexes that are missing, of another type, or find other vectors",
        "`q2v provision` creates a missing one; `q2v migrate` then writes the vectors again",
    ),
    "unfiltered": ("vectors that filters do not find until they are written again", _REPAIR),
    "kv_missing": ("a KV entry of a file that is not there", _REPAIR),
    "kv_extra": (
        "a KV key under the prefix that neither this run nor what was there names",
        _OTHERS,
    ),
    "kv_mismatched": ("a KV entry with another value, metadata or expiration", _REPAIR),
    "kv_unlisted": ("a KV key that can be read and is not listed", _LOOK_AGAIN),
    "kv_unreadable": ("a KV key that is listed and reads as absent", _LOOK_AGAIN),
    "kv_foreign": (
        "a mismatched KV entry or counter that another writer has certainly changed",
        "`q2v migrate --force FILE` overwrites what FILE names",
    ),
    "counter": ("the counter in KV does not hold the number that the vectors add up to", _REPAIR),
    "source_added": (
        "a point that the source has and the snapshot has not",
        "stop the writers, then `q2v catch-up --frozen`",
    ),
    "source_changed": (
        "a point that is another one in the source than in the snapshot",
        "stop the writers, then `q2v catch-up --frozen`",
    ),
    "source_deleted": (
        "a point of the snapshot that the source no longer has",
        "stop the writers, then `q2v catch-up --frozen`",
    ),
    "source_unreadable": (
        "a point that the source could not give",
        "mend or delete the point in the source, then `q2v reconcile`",
    ),
}
# `counter` is a finding of both, with one meaning.
MONITORED = {name: (means, _MONITOR) for name, means in CLASSES.items() if name not in DRIFT}
