"""Take typed values out of the service's answers, or say that they are not there."""

from typing import TypeVar, cast

from migrate.cloudflare.client.request import Answer, UnusableAnswerError

T = TypeVar("T")


def result_of(answer: Answer, kind: type[T], what: str) -> T:
    """The envelope's `result` if it is of the promised JSON type."""
    result = answer.envelope.result if answer.envelope is not None else None
    if not isinstance(result, kind):
        raise UnusableAnswerError(f"without {what} as its result")
    return result


def member(record: dict[str, object], name: str, kind: type[T], what: str) -> T:
    """A member that has to be there; a bool is no number."""
    value = record.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UnusableAnswerError(f"without '{name}' in {what}")
    return value


def optional_member(record: dict[str, object], name: str, kind: type[T], what: str) -> T | None:
    """A member that may be missing or null, but not of another type."""
    if record.get(name) is None:
        return None
    return member(record, name, kind, what)


def objects_of(records: list[object], what: str) -> list[dict[str, object]]:
    """A list that holds JSON objects only."""
    if not all(isinstance(record, dict) for record in records):
        raise UnusableAnswerError(f"with something else than objects among {what}")
    return cast("list[dict[str, object]]", records)


def texts_of(records: list[object], what: str) -> list[str]:
    """A list that holds strings only."""
    if not all(isinstance(record, str) for record in records):
        raise UnusableAnswerError(f"with something else than strings among {what}")
    return cast("list[str]", records)
