"""The Vectorize v2 endpoints: read the request, ask the store, answer in the envelope."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.account import Account
from sandbox.bodies import read_body, read_json, read_part
from sandbox.envelope import ok
from sandbox.errors import ServiceError, kv_invalid, upstream
from sandbox.limits import UPLOAD_BYTES_MAX
from sandbox.ndjson import parse_upload
from sandbox.query import parse_query, run_query, wide_values
from sandbox.vector_store import Index, StoredVector

PREFIX = "/client/v4/accounts/{account_id}/vectorize"


def _account(request: Request) -> Account:
    account: Account = request.app.state.account
    return account


def _index(request: Request) -> Index:
    return _account(request).vectors.index(request.path_params["name"])


async def create(request: Request) -> Response:
    """POST /indexes."""
    return ok(_account(request).vectors.create(await read_json(request)).document())


async def list_indexes(request: Request) -> Response:
    """GET /indexes."""
    return ok([index.document() for index in _account(request).vectors.indexes()])


async def get(request: Request) -> Response:
    """GET /indexes/{name}."""
    return ok(_index(request).document())


async def drop(request: Request) -> Response:
    """DELETE /indexes/{name}."""
    _account(request).vectors.drop(_index(request).name)
    return ok(None)


async def info(request: Request) -> Response:
    """GET /indexes/{name}/info."""
    return ok(_account(request).vectors.info(_index(request)))


async def insert(request: Request) -> Response:
    """POST /indexes/{name}/insert."""
    return await _upload(request, keep=True)


async def upsert(request: Request) -> Response:
    """POST /indexes/{name}/upsert."""
    return await _upload(request, keep=False)


async def _upload(request: Request, *, keep: bool) -> Response:
    account, index = _account(request), _index(request)
    behaviour = request.query_params.get("unparsable-behavior", "error")
    if behaviour not in {"error", "discard"}:
        raise upstream(40023, "unparsable-behavior is error or discard")
    body = await read_body(request, bytes_max=UPLOAD_BYTES_MAX)
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        body = read_part(body, kind, "vectors")
    elif not kind.startswith("application/x-ndjson"):
        raise ServiceError(400, 1005, "vectorize.unknown_content_type")
    account.refuse_fast_writes()
    vectors = parse_upload(body, index.dimensions, discard=behaviour == "discard")
    return ok({"mutationId": account.vectors.write(index, vectors, keep=keep)})


async def get_by_ids(request: Request) -> Response:
    """POST /indexes/{name}/get_by_ids."""
    account, index = _account(request), _index(request)
    ids = _ids(await read_json(request))
    found = account.vectors.get(index, ids, account.vectors.read_seq(index))
    return ok([_vector(vector) for vector in found])


async def delete_by_ids(request: Request) -> Response:
    """POST /indexes/{name}/delete_by_ids."""
    account, index = _account(request), _index(request)
    ids = _ids(await read_json(request))
    account.refuse_fast_writes()
    return ok({"mutationId": account.vectors.delete(index, ids)})


def _ids(document: object) -> list[str]:
    match document:
        case {"ids": list() as ids} if all(isinstance(one, str) for one in ids):
            return ids
        case _:
            raise upstream(40026, "ids: expected a list of strings")


def _vector(vector: StoredVector) -> dict[str, object]:
    found: dict[str, object] = {"id": vector.id, "values": wide_values(vector.values)}
    if vector.namespace is not None:
        found["namespace"] = vector.namespace
    if vector.metadata is not None:
        found["metadata"] = orjson.loads(vector.metadata)
    return found


async def list_vectors(request: Request) -> Response:
    """GET /indexes/{name}/list."""
    account, index = _account(request), _index(request)
    count = _whole(request, "count", 100)
    return ok(account.vectors.list_page(index, count, request.query_params.get("cursor")))


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdigit():
        raise kv_invalid(f"{name} is a whole number")
    return int(text)


async def query(request: Request) -> Response:
    """POST /indexes/{name}/query."""
    account, index = _account(request), _index(request)
    seq = account.vectors.read_seq(index)
    parsed = parse_query(account.vectors, index, await read_json(request), seq)
    return ok(run_query(account.vectors, index, parsed, seq))


async def create_metadata_index(request: Request) -> Response:
    """POST /indexes/{name}/metadata_index/create."""
    match await read_json(request):
        case {"propertyName": str() as name, "indexType": str() as kind}:
            index = _index(request)
            mutation_id = _account(request).vectors.create_metadata_index(index, name, kind)
            return ok({"mutationId": mutation_id})
        case _:
            raise upstream(40028, "propertyName and indexType are needed")


async def list_metadata_indexes(request: Request) -> Response:
    """GET /indexes/{name}/metadata_index/list: types come back capitalised."""
    listed = _account(request).vectors.listed_metadata_indexes(_index(request))
    found: list[dict[str, Any]] = [
        {"propertyName": name, "indexType": kind.capitalize()} for name, kind in listed
    ]
    return ok({"metadataIndexes": found})


async def delete_metadata_index(request: Request) -> Response:
    """POST /indexes/{name}/metadata_index/delete."""
    match await read_json(request):
        case {"propertyName": str() as name}:
            mutation_id = _account(request).vectors.drop_metadata_index(_index(request), name)
            return ok({"mutationId": mutation_id})
        case _:
            raise upstream(40028, "propertyName is needed")


async def first_version(request: Request) -> Response:
    """The dead V1 endpoints, on an index that speaks V2."""
    _account(request)
    raise ServiceError(400, 1010, "vectorize.index.incorrect_api_version")


def routes() -> list[Route]:
    """All of them, with their methods."""
    index = f"{PREFIX}/v2/indexes/{{name}}"
    return [
        Route(f"{PREFIX}/v2/indexes", create, methods=["POST"]),
        Route(f"{PREFIX}/v2/indexes", list_indexes, methods=["GET"]),
        Route(index, get, methods=["GET"]),
        Route(index, drop, methods=["DELETE"]),
        Route(f"{index}/info", info, methods=["GET"]),
        Route(f"{index}/insert", insert, methods=["POST"]),
        Route(f"{index}/upsert", upsert, methods=["POST"]),
        Route(f"{index}/get_by_ids", get_by_ids, methods=["POST"]),
        Route(f"{index}/delete_by_ids", delete_by_ids, methods=["POST"]),
        Route(f"{index}/list", list_vectors, methods=["GET"]),
        Route(f"{index}/query", query, methods=["POST"]),
        Route(f"{index}/metadata_index/create", create_metadata_index, methods=["POST"]),
        Route(f"{index}/metadata_index/list", list_metadata_indexes, methods=["GET"]),
        Route(f"{index}/metadata_index/delete", delete_metadata_index, methods=["POST"]),
        Route(f"{PREFIX}/indexes", first_version, methods=["GET", "POST"]),
        Route(f"{PREFIX}/indexes/{{rest:path}}", first_version, methods=["GET", "POST", "DELETE"]),
    ]
