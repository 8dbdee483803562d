"""Every error of qdrant-client is one of ours."""

import inspect
from collections.abc import Callable
from json import JSONDecodeError
from typing import NoReturn

import grpc
import pytest
from httpx import ConnectError, Headers
from qdrant_client import QdrantClient
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions
from typing_extensions import override

from migrate.errors import AccessError, BudgetExhaustedError, PreconditionError
from migrate.qdrant.client_errors import ask_client
from migrate.qdrant.retry import CollectionMissing, ForeignAnswer, PassingFailure

QDRANTS = b'{"status":{"error":"the words of Qdrant"},"time":0.0}'


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def call() -> NoReturn:
        raise error

    return call


class FailedCall(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    """A call over gRPC that ended with a code."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__()
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "the words of Qdrant"


class NamelessError(Exception):
    """An error without words."""

    @override
    def __str__(self) -> str:
        return ""


def status(code: int, content: bytes = QDRANTS) -> Exception:
    return exceptions.UnexpectedResponse(code, "reason", content, Headers())


def test_every_error_class_of_the_package_is_known() -> None:
    found = {
        name
        for module in (exceptions, client_exceptions)
        for name, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Exception)
    }

    assert found == {
        *("ApiException", "UnexpectedResponse", "ResponseHandlingException"),
        *("QdrantException", "ResourceExhaustedResponse"),
    }


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (status(400), PreconditionError),
        (status(401), AccessError),
        (status(403), AccessError),
        (status(404), CollectionMissing),
        (status(404, b"<html>no such page</html>"), ForeignAnswer),
        (status(302, b""), ForeignAnswer),
        (status(409), PreconditionError),
        (status(408), PassingFailure),
        (status(429), PassingFailure),
        (status(500), PassingFailure),
        (status(502, b"<html>a proxy</html>"), PassingFailure),
        (exceptions.ResponseHandlingException(ConnectError("refused")), PassingFailure),
        (
            exceptions.ResponseHandlingException(ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]")),
            AccessError,
        ),
        (exceptions.ResponseHandlingException(NamelessError()), PassingFailure),
        (exceptions.ResponseHandlingException(ValueError("no model")), ForeignAnswer),
        (JSONDecodeError("Expecting value", "<html>", 0), ForeignAnswer),
        (client_exceptions.QdrantException("Retry-After is no number"), PassingFailure),
        (client_exceptions.ResourceExhaustedResponse("slow down", 7), PassingFailure),
        (client_exceptions.ResourceExhaustedResponse("slow down", 601), BudgetExhaustedError),
        (ValueError("Collection chunks not found"), CollectionMissing),
        (ValueError("Wrong input: Vector dimension error"), PreconditionError),
        (FailedCall(grpc.StatusCode.UNAVAILABLE), PassingFailure),
        (FailedCall(grpc.StatusCode.DEADLINE_EXCEEDED), PassingFailure),
        (FailedCall(grpc.StatusCode.RESOURCE_EXHAUSTED), PassingFailure),
        (FailedCall(grpc.StatusCode.UNAUTHENTICATED), AccessError),
        (FailedCall(grpc.StatusCode.PERMISSION_DENIED), AccessError),
        (FailedCall(grpc.StatusCode.NOT_FOUND), CollectionMissing),
        (FailedCall(grpc.StatusCode.INVALID_ARGUMENT), PreconditionError),
    ],
    ids=str,
)
def test_an_error_means(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as found:
        ask_client(raising(error))
    assert type(found.value) is expected
    assert found.value.__cause__ is error


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    with pytest.raises(PassingFailure) as found:
        ask_client(raising(client_exceptions.ResourceExhaustedResponse("slow down", 7)))
    assert (found.value.wait_s, found.value.throttled) == (7, True)


def test_an_error_that_is_none_of_the_package_stays_as_it_is() -> None:
    with pytest.raises(KeyError):
        ask_client(raising(KeyError("a bug")))


def test_the_words_of_an_embedded_store_are_as_they_are_read() -> None:
    client = QdrantClient(":memory:")

    with pytest.raises(CollectionMissing, match="Collection absent not found"):
        ask_client(lambda: client.count("absent"))
