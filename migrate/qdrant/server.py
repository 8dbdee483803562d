"""Choose the protocol for a Qdrant server: gRPC where it answers, else REST."""

from dataclasses import replace

from migrate.errors import MigrationError, UsageError
from migrate.model.choices import TransportChoice
from migrate.ports import Clock
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.first_contact import check_rest_port
from migrate.qdrant.rest.source import RestSource
from migrate.qdrant.retry import CollectionMissing, PassingFailure
from migrate.qdrant.source import ServerOptions, ServerSource

PROBE_S = 5.0
UNUSABLE_NAMES = {"", ".", ".."}  # these would change the path of a request


def open_server_source(
    url: str,
    *,
    collection: str,
    api_key: str | None,
    transport: TransportChoice,
    clock: Clock,
    grpc_port: int | None = None,
    options: ServerOptions | None = None,
) -> ServerSource:
    """A source over the requested protocol; `identity()["transport"]` names the one in use.

    `auto` sends one health check to the gRPC port and uses REST if no Qdrant answers it and the
    REST port does not speak another protocol. Raises UsageError for a url, key or name that cannot
    be used.
    """
    options = options or ServerOptions()
    address = ServerAddress.parse(url, grpc_port=grpc_port, grpc_url=options.grpc_url)
    address.check_key(api_key)
    if collection in UNUSABLE_NAMES:
        raise UsageError(f"'{collection}' is no collection name", remedy="set source.collection")
    has_grpc = not address.path or address.grpc_given  # only REST works below a prefix
    if transport == "grpc" or (transport == "auto" and has_grpc):
        # The stubs and their library are slow to import, so they are imported only when needed.
        from migrate.qdrant.grpc.source import GrpcSource  # noqa: PLC0415

        source = GrpcSource(
            address, collection=collection, api_key=api_key, clock=clock, options=options
        )
        if transport == "grpc" or _answers(address, api_key, clock, options):
            return source
        source.close()
        check_rest_port(address, options)
        options.say(f"no gRPC at {address.grpc_target}; reading over REST")
    elif transport == "auto":
        check_rest_port(address, options)
    return RestSource(address, collection=collection, api_key=api_key, clock=clock, options=options)


def _answers(
    address: ServerAddress, api_key: str | None, clock: Clock, options: ServerOptions
) -> bool:
    """Whether a Qdrant answers on the gRPC port. Any error counts as no; REST reports it better."""
    from migrate.qdrant.grpc.source import GrpcTransport  # noqa: PLC0415 - see above

    probe = GrpcTransport(
        address,
        collection="",
        api_key=api_key,
        clock=clock,
        options=replace(options, total_s=min(PROBE_S, options.total_s)),
    )
    try:
        probe.fetch_version()
    except (PassingFailure, MigrationError, CollectionMissing):
        return False
    else:
        return True
    finally:
        probe.close()
