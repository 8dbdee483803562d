"""What a store's answers mean, over real sockets: what passes is tried again, the rest is said."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrate.errors import AccessError, MigrationError, RemoteUnavailableError, UsageError
from migrate.object_store.address import parse_object_address
from migrate.object_store.client import open_store
from migrate.object_store.folder import ObjectFolder, object_folder
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.snapshot.sealed.verify import verify_chain
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.object_stores import CREDENTIALS
from tests.harness.fakes.silence import Silence
from tests.harness.tiers import alike, one_in, some_of_each, struck_at
from tests.servers.scripted_http import Reply, Seen, Step, running_script
from tests.servers.scripted_s3 import CONFLICT, CUT, LOST, REFUSED, ScriptedS3

POINTS = 12
OPTIONS = SnapshotOptions(page_points=5, part_points=5)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    # As many attempts as in a move, without its pauses.
    monkeypatch.setattr("migrate.object_store.client.PAUSE_S", 0.001)
    open_store.cache_clear()
    yield
    open_store.cache_clear()


@contextmanager
def served(s3: ScriptedS3, local: Path) -> Iterator[ObjectFolder]:
    with running_script(s3) as server:
        endpoint = f"http://127.0.0.1:{server.port}"
        address = f"s3://bucket/dir?endpoint={endpoint}&region=here"
        yield object_folder(parse_object_address(address), local)


def take(folder: ObjectFolder | LocalFolder) -> str:
    folder.make()
    runtime = Runtime(clock=VirtualClock(), progress=Silence())
    source = MemorySource(chunk_payloads(POINTS))
    return take_snapshot(source, folder, OPTIONS, runtime).content_root


TROUBLES: dict[str, Step] = {"503": REFUSED, "409": CONFLICT, "cut": CUT, "lost": LOST}


def _some_of_each(requests: Sequence[tuple[str, str]]) -> list[int]:
    return some_of_each(requests, lambda request: request[0] == "PUT")


@pytest.mark.slow
@pytest.mark.parametrize("name", one_in(2, TROUBLES))
@struck_at(_some_of_each)
def test_what_passes_at_any_request_changes_nothing(
    tmp_path: Path, name: str, chosen: Callable[[Sequence[tuple[str, str]]], list[int]]
) -> None:
    """Each request fails twice in its turn."""
    trouble = TROUBLES[name]
    expected = take(LocalFolder(tmp_path / "local"))
    with served(calm := ScriptedS3(), tmp_path / "calm") as folder:
        take(folder)
    kinds = [(method, alike(target)) for method, target in calm.requests]
    for at in chosen(kinds):
        if trouble is CONFLICT and kinds[at - 1][0] != "PUT":
            continue  # no other request is refused for that

        def spoil(number: int, seen: Seen, at: int = at - 1) -> Step | None:
            if trouble is CONFLICT and seen.method != "PUT":
                return None
            return trouble if number in {at, at + 1} else None

        with served(ScriptedS3(spoil), tmp_path / str(at)) as folder:
            assert take(folder) == expected
            (sealed,) = sealed_folders(folder)
            verify_chain(Snapshot(sealed), Silence())


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (Reply(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"), AccessError, "AWS_"),
        (
            Reply(status=403, body=b"<Error><Code>SignatureDoesNotMatch</Code></Error>"),
            AccessError,
            "AWS_SECRET_ACCESS_KEY|credentials",
        ),
        (
            Reply(status=404, body=b"<Error><Code>NoSuchBucket</Code></Error>"),
            UsageError,
            "create the bucket",
        ),
        (
            Reply(status=301, body=b"<Error><Code>PermanentRedirect</Code></Error>"),
            UsageError,
            "region",
        ),
        (Reply(status=503), RemoteUnavailableError, "run the same command again"),
    ],
    ids=["denied", "wrong secret", "no bucket", "other region", "busy"],
)
def test_what_stays_is_said_with_advice(
    tmp_path: Path, answer: Reply, kind: type[MigrationError], says: str
) -> None:
    with served(ScriptedS3(lambda number, seen: answer), tmp_path) as folder:
        acts: list[Callable[[], object]] = [
            folder.make,
            folder.names,
            lambda: folder.file("a").create(b"content"),
        ]
        for act in acts:
            with pytest.raises(kind) as caught:
                act()
            message = f"{caught.value} {caught.value.remedy}"
            assert "bucket" in message
            assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in message
            assert "Debug source" not in message
            assert re.search(says, message), message


def test_what_answers_in_place_of_a_store_is_no_store(tmp_path: Path) -> None:
    """A proxy, or a web server at the wrong port, that says 200 to everything."""
    page = Reply(body=b"<html>of a proxy</html>")
    with (
        served(ScriptedS3(lambda number, seen: page), tmp_path) as folder,
        pytest.raises(MigrationError, match=r"s3://bucket/dir"),
    ):
        folder.make()


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with served(ScriptedS3(), tmp_path) as folder:
        pass
    with pytest.raises(RemoteUnavailableError, match=r"s3://bucket/dir") as caught:
        folder.names()

    said = re.match(r"check whether the endpoint (\S+) can be reached", caught.value.remedy)
    assert said is not None
    assert f"?endpoint={said[1]}&" in str(folder)


@pytest.mark.parametrize(
    ("variables", "address", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://absent/dir", "http://127.0.0.1:9"),
        (
            {"HTTPS_PROXY": "http://127.0.0.1:9"},
            "s3://absent/dir?region=eu-west-1",
            "https://s3.eu-west-1.amazonaws.com",
        ),
    ],
)
def test_an_endpoint_that_cannot_be_reached_is_named_wherever_it_comes_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    address: str,
    endpoint: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(RemoteUnavailableError) as caught:
        object_folder(parse_object_address(address), tmp_path).names()

    assert f"endpoint {endpoint} can be reached" in caught.value.remedy
