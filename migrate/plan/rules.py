"""The operator's decisions about a run, made before any point is read."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from migrate.errors import UsageError
from migrate.mapping.agreement import check_agreement
from migrate.mapping.payload import Reason
from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.values import ValueRules
from migrate.model.choices import Reduce
from migrate.model.records import VectorSpec
from migrate.plan.census.statistics import shortest_line_bytes
from migrate.plan.saved.agreed import AgreedPlan
from migrate.plan.target_shape import choose_values
from migrate.plan.window import Window
from migrate.words import counted

# More is likelier a wrong source or a wrong filter than an evening's work.
DELETE_SHARE_DEFAULT = 0.1
DELETES_ALWAYS = 10  # so few may always be deleted, also of a small collection


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRules:
    """The settings that decide what a run moves and when its plan is refused."""

    mapping: MappingRules
    writes: WriteRules
    vector_name: str = ""  # of the source's named vectors; "": the unnamed or only one
    dimensions: int | None = None  # None: the source's own
    reduce: Reduce = "none"
    allow_cast: bool = False  # uint8 and float16 values move as float32
    allow_empty: bool = False  # accept a collection without points
    into_non_empty: bool = False  # the target may hold vectors and keys already
    max_quarantine: int | None = None  # points that may be left out; None: a share of all
    max_delete: float = DELETE_SHARE_DEFAULT  # share of the vectors that a catch-up may delete
    waived: tuple[str, ...] = ()  # reasons whose quarantined points count as no failure
    metadata_indexes: Mapping[str, str] = field(default_factory=dict)  # property -> type
    indexes_chosen: bool = True  # False: they are the default, and may match no vector
    waived_indexes: AbstractSet[str] = frozenset()  # properties by which no filter has to find any
    kv_jurisdiction: str | None = None
    window: Window | None = None  # None: no limit on how long the work takes
    poll_s: float = 1.0  # between two reads of a list that may be stale
    agreed: AgreedPlan | None = None  # what the run is held to
    digests_rows: bool = False  # compute the digest that a saved plan names
    tool: str = "migrate"
    origins: Mapping[str, str] = field(default_factory=dict)  # setting -> where its value is from

    def __post_init__(self) -> None:
        """Raises UsageError for rules that cannot work together, or waive what is not declared."""
        check_agreement(self.mapping.by_setting, self.origins)
        unknown = sorted(self.waived_indexes - set(self.metadata_indexes))
        if unknown:
            raise UsageError(
                f"no metadata index to waive is declared on {', '.join(unknown)}",
                remedy="correct --waive-index; target.metadata_indexes declares "
                f"{', '.join(self.metadata_indexes) or 'none'}",
            )

    def choose_values(self, vectors: Sequence[VectorSpec]) -> ValueRules:
        """The vector that moves, and its shape. Raises PreconditionError, UsageError."""
        values = choose_values(
            vectors,
            vector_name=self.vector_name,
            dimensions=self.dimensions,
            reduce=self.reduce,
            allow_cast=self.allow_cast,
        )
        self._check_body_bytes(values)
        return values

    def _check_body_bytes(self, values: ValueRules) -> None:
        """Raises UsageError when no vector would fit into an upload."""
        shortest = shortest_line_bytes(values.dimensions)
        if self.writes.body_bytes < shortest:
            origin = self.origins.get("limits.body_bytes", "default")
            raise UsageError(
                f"limits.body_bytes from {origin}: found "
                f"{counted(self.writes.body_bytes, 'byte')}, expected room for one vector: "
                f"{counted(values.dimensions, 'value')} take at least {shortest:,} bytes",
                remedy="raise limits.body_bytes, or remove it (default: 40,000,000 bytes)",
            )


def check_waived(waived: Sequence[str]) -> None:
    """Raises UsageError for a reason that no quarantined point can have."""
    unknown = sorted(set(waived) - {reason.value for reason in Reason})
    if unknown:
        raise UsageError(
            f"unknown reason to waive: {', '.join(unknown)}",
            remedy="name each reason with a --waive of its own; known are "
            f"{', '.join(reason.value for reason in Reason)}",
        )
