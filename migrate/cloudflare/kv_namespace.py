"""What a KV namespace is, and whether a file index can live in it; pure."""

from dataclasses import dataclass
from typing import Protocol

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


class KvNamespaces(Protocol):
    """The namespaces of one account; `cloudflare/kv_namespaces.py` provides them.

    Every method raises AccessError or RemoteUnavailableError.
    """

    def read(self, namespace_id: str) -> KvNamespace | None:
        """The namespace of this id; None without one."""

    def find(self, title: str) -> KvNamespace | None:
        """The namespace with exactly this title; None without one."""

    def create(self, title: str, *, jurisdiction: str | None = None) -> KvNamespace:
        """A new namespace; the service refuses a title that is taken."""


def read_kv_namespace(
    namespaces: KvNamespaces, namespace_id: str, jurisdiction: str | None
) -> KvNamespace:
    """The configured namespace. Raises PreconditionError when it is absent or cannot be used."""
    namespace = namespaces.read(namespace_id)
    if namespace is None:
        raise PreconditionError(
            f"KV namespace {namespace_id} (target.kv_namespace_id) does not exist in this account",
            remedy="correct target.kv_namespace_id, or remove it and run `q2v provision`",
        )
    check_namespace(namespace, jurisdiction=jurisdiction)
    return namespace
