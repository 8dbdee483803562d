"""Find and create the KV namespaces of an account, for provisioning."""

from functools import partial

import orjson

from migrate.cloudflare.client.client import CloudflareHttp
from migrate.cloudflare.client.codes import DUPLICATE_NAMESPACE_CODE, NO_KV_NAMESPACE_CODE
from migrate.cloudflare.client.request import JSON, ApiRequest, Operation, Refusal
from migrate.cloudflare.kv_answers import read_namespace, read_namespaces
from migrate.cloudflare.kv_namespace import KvNamespace
from migrate.errors import IndeterminateError

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
        """The namespace with exactly this title, None after looking at all pages."""
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
            found = next((one for one in listed.namespaces if one.title == title), None)
            if found is not None:
                return found
            if listed.last:
                return None
        raise IndeterminateError(
            f"the account lists more than {PAGES_MAX} pages of KV namespaces",
            remedy="set target.kv_namespace_id by hand",
        )

    def create(self, title: str, *, jurisdiction: str | None = None) -> KvNamespace:
        """A new namespace, stored in the jurisdiction; a title that is taken is refused."""
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
            # The answer of an earlier try was lost: the namespace is ours.
            namespace = self.find(title)
            if namespace is not None and namespace.jurisdiction == jurisdiction:
                return namespace
        return self._http.value_of(CREATE_NAMESPACE, outcome)
