"""Which KV namespaces can hold a file index."""

import pytest

from migrate.cloudflare.kv_namespaces import KvNamespace, check_namespace
from migrate.errors import PreconditionError
from q2v.settings import BY_KEY
from sandbox.limits import KV_JURISDICTIONS


def _namespace(jurisdiction: str | None = None, mode: str | None = None) -> KvNamespace:
    return KvNamespace(namespace_id="ns1", title="files", jurisdiction=jurisdiction, mode=mode)


@pytest.mark.fault("F17")
@pytest.mark.parametrize("asked", [None, *KV_JURISDICTIONS])
@pytest.mark.parametrize("found", [None, *KV_JURISDICTIONS, "moon"])
def test_a_jurisdiction_that_was_asked_for_has_to_be_that_of_the_namespace(
    asked: str | None, found: str | None
) -> None:
    if asked is None or asked == found:
        check_namespace(_namespace(found), jurisdiction=asked)
        return
    with pytest.raises(PreconditionError, match=f"asks for {asked}") as error:
        check_namespace(_namespace(found), jurisdiction=asked)

    assert (found or "no jurisdiction") in str(error.value)
    assert "target.kv_jurisdiction" in error.value.remedy


@pytest.mark.fault("F17")
@pytest.mark.parametrize("mode", ["instant", "archive"])
def test_a_mode_with_other_limits_is_refused_with_them_and_an_unknown_one_by_name(
    mode: str,
) -> None:
    with pytest.raises(PreconditionError, match=mode) as error:
        check_namespace(_namespace(mode=mode), jurisdiction=None)

    assert ("10,000 keys" in str(error.value)) == (mode == "instant")
    assert "target.kv_namespace_id" in error.value.remedy


@pytest.mark.fault("F17")
def test_an_ordinary_namespace_says_where_it_is_stored() -> None:
    check_namespace(_namespace(mode="classic"), jurisdiction=None)

    assert _namespace().in_words() == "ns1 ('files', no jurisdiction)"
    assert _namespace("eu").in_words() == "ns1 ('files', jurisdiction eu)"
    assert _namespace(mode="instant").in_words() == "ns1 ('files', no jurisdiction, mode instant)"


def test_the_setting_offers_every_jurisdiction() -> None:
    assert BY_KEY["target.kv_jurisdiction"].rule.words == KV_JURISDICTIONS
