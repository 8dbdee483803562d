"""Rules that fit each by itself and cannot work together are refused by name, or named as idle."""

import pytest

from migrate.errors import UsageError
from migrate.mapping.agreement import check_agreement, idle_rules

WORKING = {
    "mapping.group_key": "file_id",
    "mapping.order_key": "chunk_index",
    "mapping.hash_key": "chunk_hash",
    "mapping.hash_of": "text",
    "mapping.hash_mismatch": "quarantine",
    "kv.key_template": "file:{file_id}",
}


def test_rules_that_work_together_pass_and_none_is_idle() -> None:
    check_agreement(WORKING, {})

    assert idle_rules(WORKING) == ()


def test_without_a_group_the_template_of_the_key_does_not_matter() -> None:
    check_agreement({**WORKING, "mapping.group_key": "", "kv.key_template": "{other}"}, {})


@pytest.mark.parametrize("template", ["file:{other}", "{file_id}{other}", "{file_id}{file_id}"])
def test_a_key_template_without_the_group_is_refused_with_its_origin(template: str) -> None:
    with pytest.raises(UsageError, match=r"kv\.key_template from --key-template") as refused:
        check_agreement(
            {**WORKING, "kv.key_template": template}, {"kv.key_template": "--key-template"}
        )

    assert 'kv.key_template = "file:{file_id}"' in refused.value.remedy


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mapping.order_key", "mapping.group_key"),
        ("mapping.order_key", "mapping.hash_key"),
        ("mapping.hash_of", "mapping.hash_key"),
    ],
)
def test_one_field_for_two_rules_is_refused_unless_it_is_none(first: str, second: str) -> None:
    with pytest.raises(UsageError, match=f"{first} from default.*{second} from the file"):
        check_agreement({**WORKING, first: WORKING[second]}, {second: "the file"})

    check_agreement({**WORKING, first: "", second: ""}, {})


@pytest.mark.parametrize(
    ("changed", "idle"),
    [
        ({"mapping.hash_key": ""}, ["mapping.hash_of"]),
        ({"mapping.hash_of": ""}, ["mapping.hash_mismatch"]),
        ({"mapping.hash_of": "", "mapping.hash_mismatch": "warn"}, []),
    ],
)
def test_a_rule_without_effect_is_named(changed: dict[str, str], idle: list[str]) -> None:
    notes = idle_rules({**WORKING, **changed})

    assert idle == [note.partition(" ")[0] for note in notes]


def test_the_index_of_a_run_is_one_of_the_list() -> None:
    several = {**WORKING, "target.shards": ("a", "b"), "kv.counter_key": "_vector_count"}

    check_agreement({**several, "target.vector_index": "b"}, {})
    check_agreement({**several, "target.vector_index": None}, {})
    check_agreement({**WORKING, "target.shards": (), "target.vector_index": "c"}, {})
    with pytest.raises(UsageError, match=r'found "c", expected one of target\.shards: a, b'):
        check_agreement({**several, "target.vector_index": "c"}, {})


def test_every_index_has_a_counter_whose_key_fits() -> None:
    names = ("a", "b" * 64)
    values = {**WORKING, "target.shards": names, "target.vector_index": "a"}

    check_agreement({**values, "kv.counter_key": "n" * 447}, {})
    with pytest.raises(UsageError, match=r"kv\.counter_key"):
        check_agreement({**values, "kv.counter_key": "n" * 448}, {})
