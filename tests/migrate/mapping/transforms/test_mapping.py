"""A payload with rules becomes one vector within all limits, or has one reason."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.payload import Mapped, Quarantined, map_again, map_payload
from migrate.mapping.rules import MappingRules
from migrate.mapping.transforms.rules import Transform
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.limits import METADATA_BYTES_MAX
from migrate.model.records import PointId
from tests.harness.strategies import RULES, json_objects, payloads
from tests.migrate.mapping.transforms.test_rules import RULES as TRANSFORMS
from tests.migrate.mapping.transforms.test_rules import SMALL

POINT = PointId(0, 7)
ANY = replace(RULES, id_template="{point_id}", group_key="", order_key="", hash_key="")
TABLES = st.lists(
    TRANSFORMS,
    max_size=4,
    unique_by=(lambda rule: rule.label, lambda rule: rule.makes or rule.label),
).map(tuple)


@given(json_objects() | SMALL | payloads(), TABLES, st.sampled_from([ANY, RULES]))
def test_a_payload_is_moved_within_all_limits_or_has_one_reason(
    payload: dict[str, Any], table: tuple[Transform, ...], rules: MappingRules
) -> None:
    text, with_table = encode_canonical_json(payload), replace(rules, transforms=table)

    outcome = map_payload(POINT, text, with_table)

    assert outcome == map_payload(POINT, text, MappingRules.from_record(with_table.record()))
    if isinstance(outcome, Quarantined):
        return
    assert isinstance(outcome, Mapped)
    assert len(outcome.metadata) <= METADATA_BYTES_MAX
    assert encode_canonical_json(decode_json(outcome.metadata)) == outcome.metadata
    # What the rules leave is metadata already: without rules it moves as it is.
    assert isinstance(map_payload(POINT, outcome.metadata, ANY), Mapped)
    assert map_again(POINT, text, with_table) == (
        outcome.vector_id,
        outcome.group,
        outcome.order,
        outcome.metadata,
    )
