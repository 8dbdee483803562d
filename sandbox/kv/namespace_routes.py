"""Routes of KV namespaces: creation, listing, renaming, deletion."""

from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from sandbox.errors import invalid_kv
from sandbox.exchange.answers import success
from sandbox.exchange.operation import Call, Operation
from sandbox.exchange.steps import Steps
from sandbox.kv.namespaces import KvNamespace
from sandbox.limits import KV_NAMESPACES_PER_PAGE_DEFAULT, KV_NAMESPACES_PER_PAGE_MAX
from sandbox.store import SandboxStore

PREFIX = "accounts/{account}/storage/kv/namespaces"
NAMESPACE = PREFIX + "/{namespace}"
BAD_BODY = "could not parse the request body"
_PAGE_MAX = 1_000_000


class KvNamespaceRoutes:
    """One method per operation."""

    def __init__(self, store: SandboxStore) -> None:
        self._kv = store.kv

    def routes(self) -> list[Operation]:
        """All of them."""
        return [
            Operation("POST", PREFIX, self.create),
            Operation("GET", PREFIX, self.list_namespaces),
            Operation("GET", NAMESPACE, self.get),
            Operation("PUT", NAMESPACE, self.rename),
            Operation("DELETE", NAMESPACE, self.delete),
        ]

    def create(self, call: Call) -> Response:
        """Create a KV namespace; answers 200, not 201."""
        body = _members(call, {"title", "jurisdiction", "mode"})
        namespace = self._kv.namespaces.create(
            body.get("title"), jurisdiction=body.get("jurisdiction"), mode=body.get("mode")
        )
        return success(_namespace_object(namespace))

    def list_namespaces(self, call: Call) -> Response:
        """A page of namespaces."""
        page = call.number("page", 1, least=1, most=_PAGE_MAX)
        per_page = call.number(
            "per_page", KV_NAMESPACES_PER_PAGE_DEFAULT, least=1, most=KV_NAMESPACES_PER_PAGE_MAX
        )
        namespaces = _ordered(
            self._kv.namespaces.select_all(),
            call.parameters.get("order", "id"),
            call.parameters.get("direction", "asc"),
        )
        shown = namespaces[(page - 1) * per_page : page * per_page]
        return success(
            [_namespace_object(one) for one in shown],
            result_info={
                "count": len(shown),
                "page": page,
                "per_page": per_page,
                "total_count": len(namespaces),
                "total_pages": -(-len(namespaces) // per_page),
            },
        )

    def get(self, _: Call, namespace_id: str) -> Response:
        """One namespace."""
        return success(_namespace_object(self._kv.namespaces.get(namespace_id)))

    def rename(self, call: Call, namespace_id: str) -> Response:
        """Give a namespace another title; jurisdiction and mode never change."""
        body = _members(call, {"title"})
        return success(
            _namespace_object(self._kv.namespaces.rename(namespace_id, body.get("title")))
        )

    def delete(self, _: Call, namespace_id: str) -> Steps:
        """Delete a namespace with its entries."""
        self._kv.namespaces.delete(namespace_id)
        while self._kv.remove_orphans():
            yield None
        return success(None)


def _namespace_object(namespace: KvNamespace) -> dict[str, Any]:
    members: dict[str, Any] = {
        "id": namespace.namespace_id,
        "title": namespace.title,
        "supports_url_encoding": True,
    }
    if namespace.jurisdiction is not None:
        members["jurisdiction"] = namespace.jurisdiction
    if namespace.mode is not None:
        members["mode"] = namespace.mode
    return members


def _ordered(namespaces: Iterable[KvNamespace], order: str, direction: str) -> list[KvNamespace]:
    if order not in {"id", "title"} or direction not in {"asc", "desc"}:
        raise invalid_kv("order must be id or title, direction asc or desc")
    return sorted(
        namespaces,
        key=lambda one: one.title if order == "title" else one.namespace_id,
        reverse=direction == "desc",
    )


def _members(call: Call, known: set[str]) -> dict[str, Any]:
    """The body's members. Raises ServiceError for one that the service does not know."""
    body = call.json(invalid_kv(BAD_BODY))
    if not isinstance(body, dict):
        raise invalid_kv(BAD_BODY)
    unknown = sorted(body.keys() - known)
    if unknown:
        raise invalid_kv(f"unknown member {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return body
