"""What a plan finds about namespaces: how many, the largest, and what two of them cannot share."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ExitCode, PreconditionError
from migrate.mapping.payload import Reason
from migrate.mapping.transforms.table import read_transforms
from migrate.model.limits import FREE_NAMESPACES_MAX, NAMESPACES_MAX
from migrate.plan.namespaces import NamespaceFindings
from tests.harness.strategies import RULES
from tests.harness.tiers import examples
from tests.migrate.plan.test_make import VALUES, chunk, find, reasons, rules_of, same_values

BY_TENANT = replace(RULES, namespace="{tenant}")


@pytest.mark.fault("M14")
def test_equal_points_of_two_tenants_are_no_duplicates(tmp_path: Path) -> None:
    """One id in two namespaces would be one vector, in the namespace that was written last."""
    rules = replace(BY_TENANT, transforms=read_transforms([{"drop": ["tenant"]}]))
    points = {
        same_values(number): {**chunk("f", 0), "tenant": tenant}
        for number, tenant in enumerate(("acme", "b"))
    }

    found = find(points, tmp_path, mapping=rules)

    assert reasons(found) == {0: Reason.ID_CONFLICT, 1: Reason.ID_CONFLICT}
    detail = found.quarantined_points[1].outcome.detail
    assert detail.startswith(
        "target id 'f_0', first used by row 0 in namespace 'acme', here in 'b'; an id is unique in "
        "the whole index: name the field of mapping.namespace in mapping.id_template too"
    )
    assert found.vectors == 0


def test_the_advice_about_ids_helps(tmp_path: Path) -> None:
    rules = replace(BY_TENANT, id_template="{tenant}-{file_id}_{chunk_index}")
    points = {
        number: {**chunk(f"f{number}", 0), "file_id": f"{tenant}/f", "tenant": tenant}
        for number, tenant in enumerate(("acme", "b"))
    }

    assert find(points, tmp_path, mapping=rules).vectors == 2


@pytest.mark.fault("M14")
def test_a_file_of_two_tenants_is_left_out_whole(tmp_path: Path) -> None:
    points = {number: {**chunk("both", number), "tenant": f"t{number % 2}"} for number in range(4)}
    points |= {9 + number: {**chunk("one", number), "tenant": "t1"} for number in range(3)}

    found = find(points, tmp_path, mapping=BY_TENANT)

    assert reasons(found) == dict.fromkeys(range(4), Reason.FILE_IN_NAMESPACES)
    assert "the file 'both' has vectors in the namespaces 't0' and 't1'" in (
        found.quarantined_points[0].outcome.detail
    )
    assert (found.vectors, found.files) == (3, 1)
    assert found.namespaces is not None
    assert found.namespaces.largest == (("t1", 3),)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30))
@settings(max_examples=examples(20))
def test_namespaces_are_counted_over_what_moves(tenants: list[str]) -> None:
    points = {n: {**chunk(f"f{n}", 0), "tenant": tenant} for n, tenant in enumerate(tenants)}
    with TemporaryDirectory() as folder:
        found = find(points, Path(folder), mapping=BY_TENANT).namespaces

    assert found is not None
    of_each = {name: tenants.count(name) for name in set(tenants)}
    assert found.count == len(of_each)
    assert found.largest == tuple(sorted(of_each.items(), key=lambda one: (-one[1], one[0]))[:5])
    assert found.bytes == len(tenants) * len(',"namespace":"a"')


def test_without_the_rule_there_are_none_and_the_load_is_as_before(tmp_path: Path) -> None:
    points = {n: {**chunk(f"f{n}", 0), "tenant": "acme"} for n in range(3)}
    plain, named = (find(points, tmp_path, mapping=mapping) for mapping in (RULES, BY_TENANT))

    assert plain.namespaces is None
    writes = rules_of(RULES).writes
    more = named.load(VALUES, writes).metadata_bytes - plain.load(VALUES, writes).metadata_bytes
    assert more == 3 * len(',"namespace":"acme"')


@pytest.mark.fault("M18")
def test_more_namespaces_than_an_index_takes_are_refused() -> None:
    largest = (("acme", 7),)
    fits = NamespaceFindings(count=NAMESPACES_MAX, bytes=0, largest=largest)
    too_many = replace(fits, count=NAMESPACES_MAX + 1)

    fits.check()
    with pytest.raises(
        PreconditionError, match="makes 50,001 namespaces, a vector index"
    ) as caught:
        too_many.check()
    assert caught.value.exit_code == ExitCode.PRECONDITION
    assert not fits.fits_free_plan
    assert replace(fits, count=FREE_NAMESPACES_MAX).fits_free_plan
