"""What the errors of the package qdrant-client mean, for those who work through its client.

The readers of this package speak to a server themselves; see `rest/` and `grpc/`.
"""

from collections.abc import Callable
from json import JSONDecodeError
from typing import TypeVar

import grpc
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from migrate.errors import AccessError, BudgetExhaustedError, PreconditionError
from migrate.qdrant.rest.answer import read_error, show_words
from migrate.qdrant.retry import (
    RETRY_AFTER_S_MAX,
    CollectionMissing,
    ForeignAnswer,
    PassingFailure,
    quote_words,
)

Answer = TypeVar("Answer")

TOO_MANY_REQUESTS, REQUEST_TIMEOUT, SERVER_ERRORS = 429, 408, 500
ACCESS, NOT_FOUND = frozenset({401, 403}), 404
DISTRUST = "CERTIFICATE_VERIFY_FAILED"
ABSENT = " not found"  # ends what an embedded store says of a collection that it does not have
GRPC_ACCESS = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
GRPC_REFUSED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


def ask_client(call: Callable[[], Answer]) -> Answer:
    """The result of a call to a client, over REST, over gRPC or of an embedded store.

    Raises CollectionMissing, PassingFailure (repeat the call), AccessError, PreconditionError
    (the server refuses the request), BudgetExhaustedError (it asks for a long wait).
    """
    try:
        return call()
    except (ApiException, QdrantException) as error:
        raise _judge(error) from error
    except grpc.RpcError as error:
        raise _judge_grpc(error) from error
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise _judge_source(error) from error
    except ValueError as error:  # an embedded store has no errors of its own
        said = quote_words(str(error), secret=None)
        if said.endswith(ABSENT):
            raise CollectionMissing(said) from error
        raise _refused(f"the embedded store refuses: {said}") from error


def _judge(error: ApiException | QdrantException) -> Exception:
    if isinstance(error, ResourceExhaustedResponse):
        what = f"Qdrant answered 429: {quote_words(str(error), secret=None)}"
        if error.retry_after_s > RETRY_AFTER_S_MAX:
            return BudgetExhaustedError(
                f"{what}; it asks to wait {error.retry_after_s} s",
                remedy="make the same call again after that time",
            )
        return PassingFailure(what, wait_s=error.retry_after_s, throttled=True)
    if isinstance(error, UnexpectedResponse):
        return _judge_status(error.status_code or 0, error.content)
    if isinstance(error, ResponseHandlingException):
        return _judge_source(error.source)
    return PassingFailure(f"the client fails: {quote_words(str(error), secret=None)}")


def _judge_source(source: Exception) -> Exception:
    """What came instead of an answer: no answer, or one that the client cannot read."""
    said = quote_words(str(source), secret=None) or type(source).__name__
    if DISTRUST in said:
        return AccessError(
            f"the server's certificate is not trusted: {said}",
            remedy="give the client the authorities that signed it",
        )
    if isinstance(source, ValueError):  # pydantic's is one
        return ForeignAnswer(f"the client cannot read the answer: {said}")
    return PassingFailure(f"Qdrant cannot be reached: {said}")


def _judge_status(status: int, content: bytes) -> Exception:
    text = read_error(status, content)
    what = (
        f"Qdrant answered {status}: {show_words(content if text is None else text.encode(), None)}"
    )
    if status == TOO_MANY_REQUESTS:
        return PassingFailure(what, throttled=True)
    if status == REQUEST_TIMEOUT or status >= SERVER_ERRORS:
        return PassingFailure(what, timed_out=True)
    if text is None:
        return ForeignAnswer(what)
    if status in ACCESS:
        return _denied(what)
    return CollectionMissing(what) if status == NOT_FOUND else _refused(what)


def _judge_grpc(error: grpc.RpcError) -> Exception:
    code = error.code()
    what = f"Qdrant answered {code.name}: {quote_words(error.details() or '', secret=None)}"
    if code in GRPC_ACCESS:
        return _denied(what)
    if code is grpc.StatusCode.NOT_FOUND:
        return CollectionMissing(what)
    if code in GRPC_REFUSED:
        return _refused(what)
    return PassingFailure(what, throttled=code is grpc.StatusCode.RESOURCE_EXHAUSTED)


def _denied(what: str) -> AccessError:
    return AccessError(what, remedy="give the client a key that may read and write this collection")


def _refused(what: str) -> PreconditionError:
    return PreconditionError(what, remedy="correct what the message says, then call again")
