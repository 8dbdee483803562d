"""Bugs in what is compared with the target, and in what is believed before it is written to."""

from tests.faults.canary import Canary, code

OF_COMPARISON = (
    Canary(
        name="numbers-compared-by-spelling",
        effect="a float that comes back as an integer is drift for ever, and repaired for ever",
        file="migrate/core/digest.py",
        old=code(2, "case int() | float() if abs(value) > _EXACT_INTEGER_MAX:"),
        new=code(2, "case float() if abs(value) > _EXACT_INTEGER_MAX:"),
        test="tests/reconcile/test_way_back.py"
        "::test_a_target_that_spells_numbers_its_own_way_is_equal_and_gives_everything_back",
    ),
)
