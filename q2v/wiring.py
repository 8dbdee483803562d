"""Pick the adapters of the services that the settings call for; the only place that does."""

import os
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from migrate.clock import SystemClock
from migrate.cloudflare.access import verify_token
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import BaseUrl, parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.client.wire import HttpLimits
from migrate.cloudflare.credentials import source_key_notes, target_token_notes
from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.kv_namespaces import WorkersKvNamespaces
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.cloudflare.verifier.address import parse_verifier_url
from migrate.cloudflare.verifier.client import EdgeVerifier, VerifierAccess
from migrate.errors import LocalStorageError, UsageError
from migrate.model.hmac_key import SealKey
from migrate.object_store.address import (
    ObjectAddress,
    is_object_address,
    parse_object_address,
)
from migrate.object_store.credentials import STORE_SECRETS
from migrate.object_store.folder import find_below, object_folder
from migrate.ports import Clock, PointSource, Progress, Target
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from migrate.restore.server import ServerTarget
from migrate.restore.target import CollectionTarget
from migrate.run.choose.find import find_by_id
from migrate.snapshot.folder import Snapshot
from migrate.storage.disk import disk
from migrate.storage.durable import is_folder
from migrate.storage.folder import StoredFile, WorkFolder
from migrate.storage.folder_lock import FolderLock
from migrate.storage.layout import BUDGET, BUDGET_FILE, SOURCE_COPIES
from migrate.storage.local_folder import LocalFolder, local_file
from migrate.transport.trust import ClientCertificate
from q2v.invocation import Place, current_invocation, local_of
from q2v.output.logs import PROCESS_MASKER
from q2v.output.progress.waits import ToldClock
from q2v.rules.required import check_both, check_required
from q2v.rules.scope import own_index, point_filter
from q2v.secret_files import MASKED_LENGTH_MIN, SecretPlace, load_secret, read_private_file
from q2v.settings import Settings


@dataclass(frozen=True, slots=True)
class CloudflareTarget(Target):
    """Both stores of the target behind one client and one request budget."""

    http: CloudflareHttp
    budget: RequestBudget
    is_local: bool  # a loopback address: the sandbox


def open_folder(place: Place | str) -> WorkFolder:
    """The folder that the operator named, or at the address of another folder."""
    if isinstance(place, ObjectAddress) or is_object_address(place):
        address = place if isinstance(place, ObjectAddress) else parse_object_address(place)
        for name in STORE_SECRETS:
            if len(os.environ.get(name, "")) >= MASKED_LENGTH_MIN:
                PROCESS_MASKER.register(os.environ[name])
        return object_folder(address, local_of(address))
    return LocalFolder(Path(place))


def open_named(directory: WorkFolder, named: Path | None) -> WorkFolder | None:
    """The folder at a path as typed, or the snapshot or run of that id in `directory`.

    Advice of this command then names it too. Raises UsageError for a name of nothing.
    """
    if named is None:
        return None
    found = find_below(directory, named)
    if found is None:
        found = typed = open_folder(named)
        is_there = typed.parent.has(typed.name if typed.is_shared else named.name)
        if len(named.parts) == 1 and not is_there:
            found = find_by_id(directory, str(named)) or typed
        if found is typed and not is_there:
            raise UsageError(
                f"{named}: found no file or folder of this name, and no snapshot or run of this id "
                f"in {directory}",
                remedy="correct the name; `q2v list` shows the snapshots and runs that are there",
            )
    current_invocation().named = found
    return found


def open_file(place: Path) -> StoredFile:
    """The file at a path that the operator named, or in an object store."""
    if is_object_address(place):
        address = parse_object_address(place)
        return open_folder(address.parent).file(address.name)
    return local_file(place)


def open_named_file(directory: WorkFolder, named: Path | None) -> StoredFile | None:
    """The file at a path as typed, or of that name in `directory`; None when it is no file."""
    if named is None:
        return None
    typed, beside = open_file(named), directory.file(str(named))
    if _is_file(typed):
        return typed
    return beside if len(named.parts) == 1 and _is_file(beside) else None


def _is_file(stored: StoredFile) -> bool:
    try:
        return stored.is_there()
    except LocalStorageError:  # a folder, a pipe or a device
        return False


def budget_file(folder: WorkFolder) -> Path:
    """The file of the request budget that all commands of a --dir, or of a --budget, share."""
    return (current_invocation().budget or folder.local.path / BUDGET) / BUDGET_FILE


def system_clock() -> Clock:
    """The machine's clock; a progress that gets it shows its waits."""
    return ToldClock(SystemClock())


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a service may keep a command waiting; for both services."""

    connect_s: float
    read_s: float  # without a byte
    total_s: float  # one request
    attempts_max: int  # per request


IMPATIENT = Patience(connect_s=4.0, read_s=10.0, total_s=15.0, attempts_max=2)  # for `q2v check`


@contextmanager
def open_source(
    settings: Settings,
    folder: WorkFolder,
    *,
    clock: Clock,
    progress: Progress,
    patience: Patience | None = None,
) -> Iterator[PointSource]:
    """The configured collection: a folder or a server. Closed at the end.

    A folder is read from a copy below `folder`, the --dir. Raises UsageError when it is not
    configured: nothing else takes its place. `patience` None: as an evening's work waits.
    """
    check_required(settings, "source.url", "source.collection")
    assert settings.source.collection is not None
    options = _server_options(settings, progress)
    if patience is not None:
        options = replace(options, **asdict(patience))
    source = _source(settings, folder, clock, progress, options)
    try:
        yield source
    finally:
        source.close()


@contextmanager
def open_restore_target(
    settings: Settings,
    snapshot: Snapshot,
    folder: WorkFolder,
    *,
    clock: Clock,
    progress: Progress,
) -> Iterator[CollectionTarget]:
    """The collection that a restore writes: in the configured server, or the embedded store.

    It has the name in the snapshot unless the flag of source.collection names another one.
    """
    check_required(settings, "source.url")
    configured = settings.source.collection
    name = snapshot.manifest.collection
    if configured is not None and settings.is_typed("source.collection"):
        name = configured
    if settings.source.path is not None:
        _refuse_another_name(settings.source.path, name, snapshot)
        # The engine is 14 MB of machine code: loaded only when it is used.
        from migrate.restore.folder import FolderTarget  # noqa: PLC0415

        yield FolderTarget(
            settings.source.path,
            collection=name,
            copies=folder.local.path / SOURCE_COPIES,
            say=progress.say,
        )
        return
    assert settings.source.url is not None
    target = ServerTarget(
        settings.source.url,
        collection=name,
        api_key=_source_key(settings),
        clock=clock,
        options=_server_options(settings, progress),
    )
    try:
        yield target
    finally:
        target.close()


def _refuse_another_name(path: Path, name: str, snapshot: Snapshot) -> None:
    """Raises UsageError for a new name in the very store that the snapshot was taken from.

    An embedded store holds one collection, and no name of it.
    """
    manifest = snapshot.manifest
    is_source = manifest.source.get("path") == str(disk().absolute(path))
    if name == manifest.collection or not is_source or not is_folder(path):
        return
    raise UsageError(
        f"{path} is the store that the snapshot was taken from; an embedded store holds one "
        f"collection without a name, so '{name}' would be that same collection",
        remedy="name a folder that does not exist yet with --source-path; or leave --collection "
        "out to compare this store with the snapshot and write what is missing in it",
    )


def source_readers(settings: Settings) -> int:
    """How many readers the source takes at once; an embedded store is read by one."""
    return settings.snapshot.readers if settings.source.path is None else 1


def _source(
    settings: Settings,
    folder: WorkFolder,
    clock: Clock,
    progress: Progress,
    options: ServerOptions,
) -> PointSource:
    collection = settings.source.collection
    assert collection is not None
    if settings.source.path is not None:
        # The engine is 14 MB of machine code: loaded only when it is the source.
        from migrate.qdrant.folder.open import open_stored_source  # noqa: PLC0415

        return open_stored_source(
            settings.source.path,
            collection=collection,
            copies=folder.local.path / SOURCE_COPIES,
            say=progress.say,
            point_filter=point_filter(settings),
        )
    assert settings.source.url is not None
    return open_server_source(
        settings.source.url,
        collection=collection,
        api_key=_source_key(settings),
        transport=settings.source.transport,
        clock=clock,
        options=replace(options, grpc_url=settings.source.grpc_url, filter=point_filter(settings)),
    )


def _source_key(settings: Settings) -> str | None:
    place = settings.source.api_key
    return None if place is None else load_secret(place).reveal()


def _server_options(settings: Settings, progress: Progress) -> ServerOptions:
    return ServerOptions(
        say=progress.say,
        compression=settings.source.compression,
        ca_file=settings.tls.ca_file,
        client=client_certificate(settings),
    )


def client_certificate(settings: Settings) -> ClientCertificate | None:
    """The certificate that Qdrant gets to see; None without one.

    Raises UsageError when only one of the two files is named, and for a key that others may read.
    """
    cert_file, key_file = settings.tls.client_cert_file, settings.tls.client_key_file
    check_both(settings, "tls.client_cert_file", "tls.client_key_file")
    if cert_file is None or key_file is None:
        return None
    named_by = settings.origin("tls.client_key_file")
    place = SecretPlace(
        key="tls.client_key_file", kind="file", place=str(key_file), named_by=named_by
    )
    read_private_file(place, remedy="name the PEM file of the key itself")
    return ClientCertificate(cert_file, key_file)


def open_http(
    settings: Settings,
    folder: WorkFolder,
    *,
    clock: Clock,
    progress: Progress,
    patience: Patience | None = None,
) -> tuple[CloudflareHttp, RequestBudget, BaseUrl]:
    """The one client for the account. The address is checked before the token is read.

    `patience` None: as an evening's work waits.
    """
    check_required(settings, "target.account_id", "target.api_token")
    base_url = parse_base_url(
        settings.target.api_base_url, allow_other_host=settings.target.allow_other_host
    )
    assert settings.target.account_id is not None
    assert settings.target.api_token is not None
    token = load_secret(settings.target.api_token).reveal()
    budget = RequestBudget(
        budget_file(folder),
        clock=clock,
        requests_max=settings.limits.requests_per_5min,
    )
    progress.watch(budget)
    current_invocation().sent.append(lambda: budget.taken)
    http = CloudflareHttp(
        Account(base_url, settings.target.account_id, token, settings.tls.ca_file),
        budget=budget,
        clock=clock,
        jitter=jitter,
        progress=progress,
        limits=None if patience is None else HttpLimits(**asdict(patience)),
    )
    return http, budget, base_url


def jitter() -> float:
    """A random number in [0, 1), also in a worker process."""
    return random.random()  # noqa: S311 - spreads retries, guards nothing


@contextmanager
def open_target(
    settings: Settings, folder: WorkFolder, *, clock: Clock, progress: Progress
) -> Iterator[CloudflareTarget]:
    """Both stores as configured. Raises UsageError when they are not."""
    check_required(
        settings,
        "target.account_id",
        "target.api_token",
        "target.vector_index",
        "target.kv_namespace_id",
    )
    assert settings.target.vector_index is not None
    assert settings.target.kv_namespace_id is not None
    http, budget, base_url = open_http(settings, folder, clock=clock, progress=progress)
    try:
        yield CloudflareTarget(
            VectorizeTarget(http, settings.target.vector_index),
            WorkersKvTarget(http, settings.target.kv_namespace_id),
            http,
            budget,
            base_url.loopback,
        )
    finally:
        http.close()


def open_namespaces(http: CloudflareHttp) -> WorkersKvNamespaces:
    """The account's KV namespaces."""
    return WorkersKvNamespaces(http)


@contextmanager
def open_verifier(
    settings: Settings, *, clock: Clock, progress: Progress
) -> Iterator[EdgeVerifier | None]:
    """The configured verifier; None without one. The address is checked before the key is read."""
    if settings.target.verifier_url is None:
        yield None
        return
    address = parse_verifier_url(
        settings.target.verifier_url, allow_other_host=settings.target.allow_other_host
    )
    check_required(settings, "target.verifier_key")
    assert settings.target.verifier_key is not None
    verifier = EdgeVerifier(
        VerifierAccess(address, _hmac_key(settings.target.verifier_key), settings.tls.ca_file),
        clock=clock,
        jitter=jitter,
        nonce=partial(secrets.token_hex, 16),
        progress=progress,
    )
    try:
        yield verifier
    finally:
        verifier.close()


def seal_key(settings: Settings) -> SealKey | None:
    """The key of manifests and plans; None when none is configured.

    Raises UsageError when the key cannot be read, or is too short to be one.
    """
    place = settings.snapshot.hmac_key
    return None if place is None else _hmac_key(place)


def _hmac_key(place: SecretPlace) -> SealKey:
    try:
        return SealKey(load_secret(place).reveal())
    except ValueError as error:
        raise UsageError(
            f"{place.key}: found {error}",
            remedy="make one with: (umask 077; openssl rand -hex 32 > FILE)",
        ) from error


def source_credential_notes(settings: Settings) -> tuple[str, ...]:
    """What the source's key shows of its rights on the configured collection; nothing without one.

    A store that is read from its folder needs no key.
    """
    if settings.source.collection is None or settings.source.path is not None:
        return ()
    return key_notes(settings, settings.source.collection)


def key_notes(settings: Settings, collection: str) -> tuple[str, ...]:
    """What the source's key can do beyond reading a collection; nothing without one."""
    place = settings.source.api_key
    return () if place is None else source_key_notes(load_secret(place).reveal(), collection)


def target_credential_notes(settings: Settings, http: CloudflareHttp) -> tuple[str, ...]:
    """What the target's token shows, and what the service says of its end. The address is checked.

    Raises AccessError for a token that is not active.
    """
    assert settings.target.api_token is not None
    token = load_secret(settings.target.api_token).reveal()
    return target_token_notes(token, verify_token(http).expires_on)


def lock_folder(directory: WorkFolder, settings: Settings) -> FolderLock:
    """The lock of a command that works on one of several indexes; on the folder where there is one.

    Raises as `shards_of`.
    """
    return FolderLock(directory, own_index(settings))
