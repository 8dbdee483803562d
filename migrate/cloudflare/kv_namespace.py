"""What a KV namespace is, and whether a file index can live in it; pure."""

from dataclasses import dataclass

from migrate.errors import PreconditionError

JURISDICTIONS = ("eu", "us", "fedramp")  # kv-jurisdictions-ga, 2026-10-02; chosen at creation
INSTANT = "instant"  # the private beta of 2026-10-01
# Ordinary namespaces have no mode; the words are in case that the service comes to name theirs.
_ORDINARY_MODES = frozenset({None, "", "classic", "default", "standard"})
_INSTANT_LIMITS = (
    "values of 1 MB, 10,000 keys of 300 bytes in all, no metadata, and one write a second in the "
    "whole namespace"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KvNamespace:
    """One namespace of the account, as the service describes it."""

    namespace_id: str
    title: str
    jurisdiction: str | None = None  # where it is stored; None: anywhere
    mode: str | None = None  # None: ordinary Workers KV

    def in_words(self) -> str:
        """For people: what it is, and where it is stored."""
        place = f"jurisdiction {self.jurisdiction}" if self.jurisdiction else "no jurisdiction"
        mode = "" if self.mode in _ORDINARY_MODES else f", mode {self.mode}"
        return f"{self.namespace_id} ('{self.title}', {place}{mode})"


def check_namespace(namespace: KvNamespace, *, jurisdiction: str | None) -> None:
    """Raises PreconditionError for a namespace of a mode or place that the run cannot use.

    `jurisdiction` None: none is asked for, and any will do.
    """
    if namespace.mode not in _ORDINARY_MODES:
        limits = f" (KV Instant: {_INSTANT_LIMITS})" if namespace.mode == INSTANT else ""
        raise PreconditionError(
            f"KV namespace {namespace.namespace_id} ('{namespace.title}') has mode "
            f"{namespace.mode}{limits}; the file index needs ordinary Workers KV",
            remedy="name an ordinary namespace with target.kv_namespace_id, or remove that setting "
            "and `q2v provision` creates one; the mode of a namespace never changes",
        )
    if jurisdiction is not None and namespace.jurisdiction != jurisdiction:
        raise PreconditionError(
            f"KV namespace {namespace.namespace_id} ('{namespace.title}') has "
            f"{_place(namespace.jurisdiction)}, target.kv_jurisdiction asks for {jurisdiction}",
            remedy="the jurisdiction of a namespace never changes: name another one with "
            "target.kv_namespace_id, let `q2v provision --kv-title TITLE` create one, or correct "
            "target.kv_jurisdiction",
        )


def _place(jurisdiction: str | None) -> str:
    return f"jurisdiction {jurisdiction}" if jurisdiction else "no jurisdiction"
