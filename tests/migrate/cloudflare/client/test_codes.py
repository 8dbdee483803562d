"""What a refusal is about, by status and code."""

import pytest

from migrate.cloudflare.client.codes import OTHER_CODES, refused_error, refused_part
from migrate.errors import RefusedPart


@pytest.mark.fault("N16")
@pytest.mark.parametrize("status", range(400, 512))
def test_only_three_statuses_concern_the_content(status: int) -> None:
    content = status in {400, 413, 422}

    assert refused_part(status, 40023) is (RefusedPart.LINE if content else RefusedPart.WHOLE)
    assert refused_part(status, None) is (RefusedPart.CONTENT if content else RefusedPart.WHOLE)
    assert refused_part(status, 49_999) is (RefusedPart.CONTENT if content else RefusedPart.WHOLE)


@pytest.mark.fault("N16")
@pytest.mark.parametrize("code", [3000, 3005, 7003, 40041])
def test_a_lost_index_and_too_many_writes_do_not(code: int) -> None:
    assert code in OTHER_CODES
    assert refused_part(400, code) is RefusedPart.WHOLE


@pytest.mark.parametrize("status", [400, 413])
def test_the_error_says_whether_a_smaller_body_may_be_taken(status: int) -> None:
    error = refused_error("no", remedy="none", status=status, code=None)

    assert error.too_large == (status == 413)
    assert error.evidence == {"status": status, "code": None}
