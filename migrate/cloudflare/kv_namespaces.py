"""Find and create the KV namespaces of an account, and check that a KV index can use one."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import orjson

from migrate.cloudflare.client.api import (
    JSON,
    Answer,
    ApiRequest,
    Operation,
    Refusal,
    member,
    objects_of,
    optional_member,
    result_of,
)
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.cloudflare.client.codes import DUPLICATE_NAMESPACE_CODE, NO_KV_NAMESPACE_CODE
from migrate.errors import IndeterminateError, PreconditionError
from migrate.words import subject

INSTANT = "instant"  # the private beta of 2026-10-01
# Ordinary namespaces have no mode today; the words allow for names that the service may add.
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
        """Id, title, jurisdiction and mode in one line."""
        place = f"jurisdiction {self.jurisdiction}" if self.jurisdiction else "no jurisdiction"
        mode = "" if self.mode in _ORDINARY_MODES else f", mode {self.mode}"
        return f"{self.namespace_id} ('{self.title}', {place}{mode})"


def check_namespace(namespace: KvNamespace, *, jurisdiction: str | None) -> None:
    """Raises PreconditionError for a namespace of a mode or jurisdiction that the run cannot use.

    `jurisdiction` None accepts any.
    """
    if namespace.mode not in _ORDINARY_MODES:
        limits = f" (KV Instant: {_INSTANT_LIMITS})" if namespace.mode == INSTANT else ""
        raise PreconditionError(
            f"KV namespace {namespace.namespace_id} ('{namespace.title}') has mode "
            f"{namespace.mode}{limits}; the KV index needs ordinary Workers KV",
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
    """The namespaces of one account; `WorkersKvNamespaces` provides them.

    Every method raises AccessError or RemoteUnavailableError.
    """

    def read(self, namespace_id: str) -> KvNamespace | None:
        """The namespace of this id; None without one."""

    def find(self, title: str) -> KvNamespace | None:
        """The namespace with exactly this title; None without one.

        Raises PreconditionError when several have it: titles do not tell which one is meant.
        """

    def create(self, title: str, *, jurisdiction: str | None = None) -> KvNamespace:
        """Create a namespace. The service refuses a title that is in use."""


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


LIST_NAMESPACES = Operation(name="list KV namespaces", scope="Workers KV Storage: Read")
GET_NAMESPACE = Operation(name="get KV namespace", scope="Workers KV Storage: Read")
CREATE_NAMESPACE = Operation(name="create KV namespace", scope="Workers KV Storage: Edit")

PER_PAGE = 100
PAGES_MAX = 100  # an account holds 1,000 namespaces (KV-LIM)


class WorkersKvNamespaces:
    """The namespaces of one account."""

    def __init__(self, http: CloudflareHttp) -> None:
        """Sends nothing."""
        self._http = http
        self._path = http.account_path("storage", "kv", "namespaces")

    def read(self, namespace_id: str) -> KvNamespace | None:
        """The namespace of this id; None without one."""
        request = ApiRequest(
            operation=GET_NAMESPACE, method="GET", path=f"{self._path}/{namespace_id}"
        )
        outcome = self._http.exchange(request, read_namespace)
        if isinstance(outcome, Refusal) and outcome.code == NO_KV_NAMESPACE_CODE:
            return None
        return self._http.value_of(GET_NAMESPACE, outcome)

    def find(self, title: str) -> KvNamespace | None:
        """See KvNamespaces. Reads all pages of the account."""
        same: list[KvNamespace] = []
        for page in range(1, PAGES_MAX + 1):
            request = ApiRequest(
                operation=LIST_NAMESPACES,
                method="GET",
                path=self._path,
                query={
                    "page": str(page),
                    "per_page": str(PER_PAGE),
                    "order": "title",
                    "direction": "asc",
                },
            )
            read = partial(read_namespaces, page=page, per_page=PER_PAGE)
            listed = self._http.send(request, read)
            same += [namespace for namespace in listed.namespaces if namespace.title == title]
            if listed.last:
                return _only(same, title)
        raise IndeterminateError(
            f"the account lists more than {PAGES_MAX} pages of KV namespaces",
            remedy="set target.kv_namespace_id by hand",
        )

    def create(self, title: str, *, jurisdiction: str | None = None) -> KvNamespace:
        """Create a namespace in the jurisdiction. The service refuses a title that is in use."""
        body = {"title": title} | ({} if jurisdiction is None else {"jurisdiction": jurisdiction})
        request = ApiRequest(
            operation=CREATE_NAMESPACE,
            method="POST",
            path=self._path,
            body=[orjson.dumps(body)],
            content_type=JSON,
        )
        outcome = self._http.exchange(request, read_namespace)
        if (
            isinstance(outcome, Refusal)
            and outcome.code == DUPLICATE_NAMESPACE_CODE
            and outcome.attempts > 1
        ):
            # The answer to an earlier attempt was lost: that attempt created the namespace.
            namespace = self.find(title)
            if namespace is not None and namespace.jurisdiction == jurisdiction:
                return namespace
        return self._http.value_of(CREATE_NAMESPACE, outcome)


def _only(same: list[KvNamespace], title: str) -> KvNamespace | None:
    """The one namespace of a title; a page that was read while others changed may repeat it."""
    by_id = {namespace.namespace_id: namespace for namespace in same}
    if len(by_id) > 1:
        raise PreconditionError(
            f"{subject(len(by_id), 'KV namespace', 'has')} the title '{title}': "
            f"{', '.join(sorted(by_id))}",
            remedy="rename all but one of them (wrangler kv namespace rename), or choose other "
            "titles with `q2v provision --kv-title TITLE --kv-preview-title TITLE`",
        )
    return next(iter(by_id.values()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacePage:
    """One page of the account's namespaces."""

    namespaces: list[KvNamespace]
    last: bool


def read_namespace(answer: Answer) -> KvNamespace:
    """The namespace in an answer about one namespace."""
    return _namespace(result_of(answer, dict, "a namespace"))


def read_namespaces(answer: Answer, *, page: int, per_page: int) -> NamespacePage:
    """One page. It is the last by `total_pages`, else if it has fewer than `per_page` entries."""
    records = objects_of(result_of(answer, list, "a list of namespaces"), "the namespaces")
    assert answer.envelope is not None
    pages = optional_member(answer.envelope.result_info, "total_pages", int, "the page")
    return NamespacePage(
        namespaces=list(map(_namespace, records)),
        last=len(records) < per_page if pages is None else page >= pages,
    )


def _namespace(record: dict[str, object]) -> KvNamespace:
    return KvNamespace(
        namespace_id=member(record, "id", str, "the namespace"),
        title=member(record, "title", str, "the namespace"),
        jurisdiction=optional_member(record, "jurisdiction", str, "the namespace") or None,
        mode=optional_member(record, "mode", str, "the namespace") or None,
    )
