"""What a plan finds about the namespaces of the vectors that move."""

from dataclasses import dataclass

from migrate.errors import PreconditionError
from migrate.model.limits import FREE_NAMESPACES_MAX, NAMESPACES_MAX
from migrate.tables.plan_ids import IdTable
from migrate.words import counted

LISTED_MAX = 5
_MEMBER_BYTES = len(',"namespace":""')


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceFindings:
    """The namespaces that the mapping makes."""

    count: int
    bytes: int  # of the member that names it, over all upload lines
    largest: tuple[tuple[str, int], ...]  # name and vectors, of the five with the most vectors

    @property
    def fits_free_plan(self) -> bool:
        """Whether an index of the free plan takes as many."""
        return self.count <= FREE_NAMESPACES_MAX

    def check(self) -> None:
        """Raises PreconditionError for more namespaces than an index takes."""
        if self.count > NAMESPACES_MAX:
            name, vectors = self.largest[0]
            raise PreconditionError(
                f"mapping.namespace makes {counted(self.count, 'namespace')}, a vector index takes "
                f"{NAMESPACES_MAX:,}; the largest, '{name}', has {counted(vectors, 'vector')}",
                remedy="name a field with fewer values in mapping.namespace, or remove it and "
                "filter by a metadata index; nothing has been written to the target",
            )


def find_namespaces(table: IdTable, vectors: int) -> NamespaceFindings:
    """Count the namespaces of the rows that move, which are `vectors`."""
    return NamespaceFindings(
        count=table.count_namespaces(),
        bytes=table.sum_namespace_bytes() + vectors * _MEMBER_BYTES,
        largest=tuple(table.largest_namespaces(LISTED_MAX)),
    )
