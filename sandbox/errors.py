"""What the service refuses, in its own words: HTTP status, code, message."""


class ServiceError(Exception):
    """One refusal; the app turns it into the error envelope."""

    def __init__(
        self, status: int, code: int, message: str, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def upstream(code: int, text: str) -> ServiceError:
    """A refusal of the vector service: HTTP 400, its text behind a fixed prefix."""
    return ServiceError(400, code, f"vectorize.upstream_error - {text}")


def not_parsable() -> ServiceError:
    """The parser's catch-all: it names neither the vector nor the fault."""
    return upstream(
        40023,
        "failed to parse upsert vectors request in ndjson format: "
        "line Some(0) was not expected format",
    )


def index_not_found() -> ServiceError:
    """HTTP 400 on purpose: the code tells, not the status."""
    return ServiceError(400, 3000, "vectorize.index.not_found")


def no_route() -> ServiceError:
    """No such path, or a malformed account id in it."""
    return ServiceError(
        404, 7003, "Could not route to the given path, perhaps your object identifier is invalid?"
    )


def key_not_found() -> ServiceError:
    """A KV key that is not there, or not visible yet."""
    return ServiceError(404, 10009, "get: 'key not found'")


def namespace_not_found() -> ServiceError:
    """No KV namespace of this id."""
    return ServiceError(404, 10013, "namespace not found")


def kv_invalid(message: str, *, status: int = 400) -> ServiceError:
    """A KV request that does not validate."""
    return ServiceError(status, 10001, message)
