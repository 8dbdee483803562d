"""A filter of Qdrant as the sources and manifests have it, and what a refusal of it means."""

import json
from dataclasses import dataclass
from typing import Any

from migrate.errors import MigrationError, PreconditionError, UsageError
from migrate.qdrant.retry import PageRefusal

# The words of a refusal that names a limit of filters; other limits are of the page.
_OF_A_FILTER = ("filter", "condition")
_ADVICE = (
    "correct source.filter; where the server asks for an index, create a payload index on that "
    "field in Qdrant, which also makes the reading fast; or leave source.filter out, which moves "
    "the whole collection"
)


@dataclass(frozen=True, slots=True)
class PointFilter:
    """Which points of a collection are read; `parse_filter` makes one of a text."""

    text: str  # JSON with sorted members: equal filters have equal texts

    @property
    def members(self) -> dict[str, Any]:
        """The filter as the REST API takes it."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    def judge(self, refusal: PreconditionError | PageRefusal) -> MigrationError | PageRefusal:
        """What the refusal of a request with this filter means.

        A limit on the number of points is one of the page; anything else is about the filter.
        """
        is_of_page = isinstance(refusal, PageRefusal) and not any(
            word in str(refusal).lower() for word in _OF_A_FILTER
        )
        if is_of_page:
            return refusal
        return self.refused(str(refusal))

    def refused(self, what: str) -> UsageError:
        """The error for a filter that cannot be used; `what` says who refused it, and why."""
        return UsageError(f"{what}; source.filter is {self.text}", remedy=_ADVICE)
