"""Is the token alive, and may it do what the run needs; and the namespaces of an account."""

import pytest

from migrate.cloudflare.access import TokenState, probe_access, verify_token
from migrate.cloudflare.kv_namespaces import KvNamespace, WorkersKvNamespaces
from migrate.errors import AccessError, PreconditionError, TargetRefusedError
from tests.migrate.cloudflare.clients import ACCOUNT_ID, scripted
from tests.servers.scripted_http import CutAfterRequest, Reply, Seen, Step, envelope, failure

DENIED = failure(403, (10000, "Authentication error"))
ACTIVE = envelope({"id": "1", "status": "active", "expires_on": "2027-01-01T00:00:00Z"})
ACCOUNT = f"/client/v4/accounts/{ACCOUNT_ID}"


@pytest.mark.fault("N11")
def test_a_users_token_is_verified() -> None:
    with scripted([ACTIVE]) as (server, http):
        assert verify_token(http) == TokenState(status="active", expires_on="2027-01-01T00:00:00Z")

    assert [seen.target for seen in server.requests] == ["/client/v4/user/tokens/verify"]


@pytest.mark.fault("N11")
def test_a_token_of_the_account_is_verified_at_its_own_endpoint() -> None:
    unknown = failure(401, (1000, "Invalid API Token"))
    with scripted([unknown, ACTIVE]) as (server, http):
        assert verify_token(http).status == "active"

    assert server.requests[1].target == f"{ACCOUNT}/tokens/verify"


@pytest.mark.fault("N11")
@pytest.mark.parametrize("status", ["disabled", "expired"])
def test_a_token_that_is_not_active_stops(status: str) -> None:
    told = envelope({"id": "1", "status": status})
    with scripted([told]) as (_, http), pytest.raises(AccessError, match=status):
        verify_token(http)
    with scripted([DENIED]) as (_, http), pytest.raises(AccessError):
        verify_token(http)


SCOPES = {
    f"{ACCOUNT}/vectorize/v2/indexes/docs-prod": "Vectorize: Read",
    f"{ACCOUNT}/vectorize/v2/indexes/docs-prod/upsert": "Vectorize: Edit",
    f"{ACCOUNT}/storage/kv/namespaces/ns1": "Workers KV Storage: Read",
    f"{ACCOUNT}/storage/kv/namespaces/ns1/bulk/delete": "Workers KV Storage: Edit",
}


@pytest.mark.fault("N12")
@pytest.mark.parametrize(("target", "scope"), SCOPES.items())
def test_the_missing_permission_is_named(target: str, scope: str) -> None:
    def script(seen: Seen) -> Step:
        return DENIED if seen.target == target else failure(404, (3000, "not found"))

    with scripted(script) as (_, http), pytest.raises(AccessError) as denied:
        probe_access(http, index_name="docs-prod", namespace_id="ns1", write=True)

    assert scope in denied.value.remedy
    assert scope in str(denied.value)


@pytest.mark.fault("N11")
def test_a_token_that_the_service_does_not_know_is_not_said_to_lack_a_permission() -> None:
    unknown = failure(401, (10000, "Authentication error"))
    with scripted([unknown]) as (_, http), pytest.raises(AccessError) as denied:
        probe_access(http, index_name="docs-prod", namespace_id=None)

    assert denied.value.remedy.startswith("the service does not know this token")
    assert "'Vectorize: Read'" in denied.value.remedy


@pytest.mark.fault("N12", "X12")
def test_probes_change_nothing_and_reading_needs_no_permission_to_write() -> None:
    with scripted([failure(400, (1005, "vectorize.unknown_content_type"))]) as (server, http):
        probe_access(http, index_name="docs-prod", namespace_id="ns1")
        assert {seen.method for seen in server.requests} == {"GET"}
        probe_access(http, index_name="docs-prod", namespace_id="ns1", write=True)
        probe_access(http, index_name=None, namespace_id=None, write=True)

    written = [seen for seen in server.requests if seen.method != "GET"]
    assert [seen.body for seen in written] == [b"", b"[]"]
    assert written[0].headers["content-type"] == "text/plain"
    assert written[0].headers["content-length"] == "0"
    assert len(server.requests) == 6


def namespaces_page(*titles: str, pages: int | None) -> Reply:
    found = [{"id": f"id-{title}", "title": title} for title in titles]
    info = {} if pages is None else {"total_pages": pages}
    return envelope(found, result_info=info)


@pytest.mark.parametrize("pages", [2, None])
def test_a_namespace_is_found_on_a_later_page(pages: int | None) -> None:
    full = [f"t{number}" for number in range(100)]
    script = [namespaces_page(*full, pages=pages), namespaces_page("wanted", pages=pages)]
    with scripted(script) as (server, http):
        found = WorkersKvNamespaces(http).find("wanted")
    assert found == KvNamespace(namespace_id="id-wanted", title="wanted")
    assert "page=2&per_page=100" in server.requests[1].target
    with scripted(script) as (_, http):
        assert WorkersKvNamespaces(http).find("want") is None


DUPLICATE = failure(400, (10014, "a namespace with this title already exists"))


def test_a_namespace_is_created_once() -> None:
    created = envelope({"id": "id-new", "title": "new"})
    with scripted([created]) as (server, http):
        assert WorkersKvNamespaces(http).create("new").namespace_id == "id-new"
    assert server.requests[0].json() == {"title": "new"}
    with scripted([DUPLICATE]) as (_, http), pytest.raises(TargetRefusedError):
        WorkersKvNamespaces(http).create("new")


@pytest.mark.fault("F17")
def test_a_jurisdiction_is_asked_for_at_creation_and_read_back() -> None:
    created = envelope({"id": "id-new", "title": "new", "jurisdiction": "eu"})
    with scripted([created]) as (server, http):
        namespace = WorkersKvNamespaces(http).create("new", jurisdiction="eu")

    assert server.requests[0].json() == {"title": "new", "jurisdiction": "eu"}
    assert namespace.jurisdiction == "eu"


@pytest.mark.fault("F17", "N06")
def test_a_namespace_of_another_jurisdiction_is_not_told_for_the_one_of_a_lost_try() -> None:
    other = envelope([{"id": "old", "title": "new", "jurisdiction": "us"}])
    script: list[Step] = [CutAfterRequest(), DUPLICATE, other]
    with scripted(script) as (_, http), pytest.raises(TargetRefusedError):
        WorkersKvNamespaces(http).create("new", jurisdiction="eu")


@pytest.mark.fault("F17")
def test_one_namespace_is_read_with_its_mode() -> None:
    instant = envelope({"id": "ns1", "title": "t", "jurisdiction": None, "mode": "instant"})
    with scripted([instant]) as (server, http):
        found = WorkersKvNamespaces(http).read("ns1")
    assert found == KvNamespace(namespace_id="ns1", title="t", mode="instant")
    assert server.requests[0].target.endswith("/storage/kv/namespaces/ns1")
    with scripted([failure(404, (10013, "namespace not found"))]) as (_, http):
        assert WorkersKvNamespaces(http).read("ns1") is None


@pytest.mark.fault("N06")
def test_a_namespace_created_by_a_lost_try_is_found() -> None:
    script: list[Step] = [CutAfterRequest(), DUPLICATE, namespaces_page("new", pages=1)]
    with scripted(script) as (_, http):
        assert WorkersKvNamespaces(http).create("new").namespace_id == "id-new"


@pytest.mark.fault("V06")
@pytest.mark.parametrize("apart", [False, True], ids=["on one page", "on two pages"])
def test_a_title_that_two_namespaces_have_names_neither(*, apart: bool) -> None:
    twice = [{"id": "ns-b", "title": "files"}, {"id": "ns-a", "title": "files"}]
    pages = [twice[:1], twice[1:]] if apart else [twice]
    script = [envelope(page, result_info={"total_pages": len(pages)}) for page in pages]
    with scripted(script) as (_, http), pytest.raises(PreconditionError) as refusal:
        WorkersKvNamespaces(http).find("files")

    assert "2 KV namespaces have the title 'files': ns-a, ns-b" in str(refusal.value)
    assert "--kv-preview-title" in refusal.value.remedy


def test_a_namespace_that_moved_to_the_next_page_meanwhile_is_one() -> None:
    page = [{"id": "ns-a", "title": "files"}]
    script = [envelope(page, result_info={"total_pages": 2}) for _ in range(2)]
    with scripted(script) as (_, http):
        found = WorkersKvNamespaces(http).find("files")

    assert found == KvNamespace(namespace_id="ns-a", title="files")
