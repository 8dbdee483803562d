"""The refusals of the service: HTTP status, code, message. U marks values that are our choice."""

from collections.abc import Mapping, Sequence


class ServiceError(Exception):
    """A request the service refuses; the app turns it into the error envelope."""

    def __init__(
        self, status: int, code: int, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


# Common ground ----------------------------------------------------------------------------------


def unknown_token() -> ServiceError:
    """No token, or an unknown one."""
    return ServiceError(401, 10000, "Authentication error")


def foreign_account() -> ServiceError:
    """A good token, used on an account it does not belong to."""
    return ServiceError(403, 10000, "Authentication error")


def wrong_token_kind() -> ServiceError:
    """The verify endpoints of users and of accounts each refuse the other's tokens."""
    return ServiceError(401, 1000, "Invalid API Token")  # U


def no_route() -> ServiceError:
    """No such path, or a malformed account id in it."""
    return ServiceError(
        404, 7003, "Could not route to the given path, perhaps your object identifier is invalid?"
    )


def throttled(code: int, *, headers: Mapping[str, str]) -> ServiceError:
    """The account's request budget is used up; both 971 and 10429 have been seen."""
    text = "Please wait and consider throttling your request speed"
    return ServiceError(429, code, text, headers=headers)


def invalid_headers() -> ServiceError:
    """The Authorization header has not the form of a token (observed with HTTP 400)."""
    return ServiceError(400, 6003, "Invalid request headers")


def foreign_address() -> ServiceError:
    """The token's IP filter does not hold the address of the caller (observed with HTTP 400)."""
    return ServiceError(400, 9109, "Cannot use the access token from location: 203.0.113.7")


# Vectorize --------------------------------------------------------------------------------------


def upstream(code: int, text: str) -> ServiceError:
    """A refusal of the vector service behind the API: HTTP 400 and a fixed prefix."""
    return ServiceError(400, code, f"vectorize.upstream_error - {text}")


class IndexMissingError(ServiceError):
    """No vector index of this name: it never existed, or was deleted.

    Both statuses are on record. Operations on an index answer 400 (O); the lookup of the index
    itself answers `lookup_status`, which LangChain's client relies on before it creates one (C).
    The code is the same in both cases.
    """

    def __init__(self, code: int, message: str, *, lookup_status: int) -> None:
        super().__init__(400, code, message)
        self.lookup_status = lookup_status

    def on_lookup(self) -> ServiceError:
        """The same refusal as GET of the index answers it."""
        return ServiceError(self.lookup_status, self.code, self.message)


def index_not_found() -> IndexMissingError:
    """No such vector index."""
    return IndexMissingError(3000, "vectorize.index.not_found", lookup_status=404)


def index_deleted() -> IndexMissingError:
    """The name belonged to a vector index that was deleted, and to none since."""
    return IndexMissingError(3005, "vectorize.index.deleted", lookup_status=410)


def duplicate_index_name() -> ServiceError:
    """Creation under a name in use."""
    return ServiceError(400, 3002, "vectorize.index.duplicate_name")  # U: the status


def invalid_index_config(text: str) -> ServiceError:
    """`config` is missing, flat, or out of range."""
    return ServiceError(400, 3001, f"vectorize.index.invalid_config - {text}")  # U: the code


def invalid_index_name() -> ServiceError:
    """The name is empty or above 64 bytes."""
    return ServiceError(400, 3003, "vectorize.index.invalid_name")  # U


def old_api_version() -> ServiceError:
    """A path of the first API version, on an index of the second."""
    return ServiceError(400, 1010, "vectorize.index.incorrect_api_version")  # U: the status


def unknown_content_type() -> ServiceError:
    """An upload that is neither NDJSON nor multipart."""
    return ServiceError(400, 1005, "vectorize.unknown_content_type")


def refused_on_order(vector_id: str) -> ServiceError:
    """A line that is refused because the fault `refuse-ids` says so."""
    return upstream(40023, f"refused on order, vector {vector_id!r}")


def unparsable_upload() -> ServiceError:
    """The parser's catch-all: it names neither the vector nor what is wrong with it."""
    return upstream(
        40023,
        "failed to parse upsert vectors request in ndjson format: "
        "line Some(0) was not expected format",
    )


def too_many_vectors(count: int, count_max: int) -> ServiceError:
    """More vectors in one upload than allowed."""
    text = f"too many vectors in payload; max vector count is {count_max}, got {count}"
    return upstream(40004, text)  # U: the code


def too_many_ids(count: int, count_max: int) -> ServiceError:
    """More ids in one read or delete than allowed."""
    return upstream(40007, f"too many ids in payload; max id count is {count_max}, got {count}")


def id_too_long(size: int, size_max: int) -> ServiceError:
    """A vector id above the limit, in bytes of UTF-8."""
    return upstream(40008, f"id too long; max is {size_max} bytes, got {size} bytes")


def namespace_too_long(size: int, size_max: int) -> ServiceError:
    """A vector namespace above the limit, in bytes of UTF-8."""
    return upstream(40009, f"namespace too long; max is {size_max} bytes, got {size} bytes")


def wrong_width(vector_id: str, dimensions: int, width: int) -> ServiceError:
    """Values that do not fit the index."""
    return upstream(
        40012,
        f'invalid vector for id="{vector_id}", expected {dimensions} dimensions, '
        f"and got {width} dimensions",
    )


def wrong_query_width(dimensions: int, width: int) -> ServiceError:
    """A query vector that does not fit the index."""
    return upstream(
        40006, f"invalid query vector, expected {dimensions} dimensions, and got {width} dimensions"
    )


def oversized_metadata(vector_id: str, size: int, size_max: int) -> ServiceError:
    """Metadata above the limit, measured as compact JSON."""
    return upstream(
        40016,
        f'oversized metadata for vector id="{vector_id}"; '
        f"compact JSON must not exceed {size_max} bytes, got {size} bytes",
    )


def invalid_metadata_key(vector_id: str) -> ServiceError:
    """A metadata key that is empty, holds a dot or a quote, or starts with a dollar sign."""
    return upstream(40018, f'invalid metadata key for vector id="{vector_id}"')


def invalid_top_k(text: str) -> ServiceError:
    """`topK` out of range for what is to be returned."""
    return upstream(40025, text)


def invalid_return_metadata() -> ServiceError:
    """`returnMetadata` is not one of its three words; a boolean is not."""
    return upstream(40026, 'returnMetadata: expected value "none", "indexed" or "all"')


def invalid_filter(text: str) -> ServiceError:
    """A filter against the rules."""
    return upstream(40024, f"invalid filter: {text}")  # U: the code


def too_many_vector_writes() -> ServiceError:
    """Vectorize's own write rate, apart from the account's budget."""
    return upstream(40041, "Too Many Requests")


def vector_quota_reached() -> ServiceError:
    """A quota of the account; the same code is on record for a query's option."""
    return upstream(40026, "quota exceeded for this account")  # U: the text


def unknown_refusal() -> ServiceError:
    """A refusal with an undocumented code."""
    return upstream(49999, "request could not be processed")


def invalid_request(text: str) -> ServiceError:
    """A request body or parameter outside its schema."""
    return ServiceError(400, 1000, f"vectorize.bad_request - {text}")  # U


def invalid_cursor() -> ServiceError:
    """A list cursor that is damaged, expired, or of another index."""
    return upstream(40022, "invalid or expired cursor")  # U


# Workers KV -------------------------------------------------------------------------------------


def key_not_found() -> ServiceError:
    """No such key, or none visible yet."""
    return ServiceError(404, 10009, "get: 'key not found'")


def namespace_not_found() -> ServiceError:
    """No KV namespace of this id in the account."""
    return ServiceError(404, 10013, "namespace not found")


def duplicate_title() -> ServiceError:
    """A KV namespace of this title exists."""
    return ServiceError(400, 10014, "a namespace with this account ID and title already exists")


def invalid_kv(text: str, *, status: int = 400) -> ServiceError:
    """A KV request outside its limits; the live codes are not known (U)."""
    return ServiceError(status, 10001, text)


def too_many_namespace_writes() -> ServiceError:
    """Two writes to one namespace of KV Instant within a second."""
    return ServiceError(429, 10429, "too many writes to the namespace; at most one per second")  # U


def too_many_kv_writes() -> ServiceError:
    """The same key twice within a second."""
    return ServiceError(429, 10429, "too many writes to the same key; at most one per second")  # U


def kv_day_used_up() -> ServiceError:
    """The free plan's daily limit of KV writes."""
    text = "your account has reached its daily limit of KV put operations"  # U: the text
    return ServiceError(429, 10048, text)


# Workers ----------------------------------------------------------------------------------------


def no_user() -> ServiceError:
    """A token of an account, where a user is asked for."""
    return ServiceError(403, 9109, "Valid user-level authentication not found")  # C: the code


def script_not_found() -> ServiceError:
    """No Worker of this name."""
    return ServiceError(404, 10007, "This Worker does not exist on your account.")  # C: the code


def version_not_found() -> ServiceError:
    """No version of this id."""
    return ServiceError(404, 10222, "This version does not exist.")  # U


def invalid_script_request(text: str) -> ServiceError:
    """A request about a Worker outside its schema."""
    return ServiceError(400, 10021, text)  # U


def secrets_changed(names: Sequence[str]) -> ServiceError:
    """A former version would run with other secrets than it was made with; `force` allows it."""
    text = f"The following secrets have changed: {', '.join(names)}"
    return ServiceError(400, 10220, text)  # C: code and text, which wrangler takes apart
