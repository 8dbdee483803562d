"""Bugs that take a part of a source for the whole, or a point for another one."""

from tests.faults.canaries.canary import Canary, code

OF_THE_SOURCE = (
    Canary(
        name="one-shard-is-the-collection",
        effect="one shard of a server's folder is sealed as the whole collection",
        file="migrate/qdrant/folder/layout.py",
        old="    if len(found.shards) > 1:\n",
        new="    if not found.shards:\n",
        test="tests/migrate/qdrant/folder/test_folder.py"
        "::test_one_shard_of_several_is_refused_with_the_folder_to_set",
    ),
    Canary(
        name="hidden-points-sealed",
        effect="points that are acknowledged and not visible are missing from a sealed snapshot",
        file="migrate/snapshot/take.py",
        old=code(1, "check_hidden(now)"),
        new="",
        test="tests/migrate/snapshot/test_counting.py"
        "::test_hidden_points_keep_a_snapshot_from_being_sealed",
    ),
    Canary(
        name="count-believed-once",
        effect="replicas that differ are called writers, and the operator freezes what is frozen",
        file="migrate/snapshot/agreement.py",
        old="    if len(readings) > 1 and set(readings) == {first}:\n",
        new="    if len(readings) > 9 and set(readings) == {first}:\n",
        test="tests/migrate/snapshot/test_counting.py"
        "::test_a_count_that_never_agrees_is_refused_before_anything_is_read",
    ),
    Canary(
        name="shortest-text-for-all",
        effect="one float32 and its negative arrive as their neighbours",
        file="migrate/mapping/upload_body.py",
        old="    exactly = has_twice_rounded(values)\n",
        new="    exactly = False\n",
        test="tests/migrate/mapping/test_upload_body.py"
        "::test_the_one_value_and_its_neighbours_survive_in_any_company",
    ),
)
