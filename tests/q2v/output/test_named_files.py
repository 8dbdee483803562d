"""Files that the operator names to be written, by several commands at the same time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from migrate.storage.local_folder import local_file
from q2v.output.named_files import Kind, check_result_file, only_writer

PLAN = Kind("a plan", (b"plan",))


def test_two_writers_of_one_name_each_write_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"

    def write(number: int) -> bytes:
        content = b"plan %d " % number * 20_000
        for _ in range(20):
            check_result_file(file, flag="--out", kind=PLAN)
            with only_writer(file):
                local_file(file).write(content)
            found = file.read_bytes()
            assert found == found[:7] * 20_000
        return content

    with ThreadPoolExecutor(4) as writers:
        contents = list(writers.map(write, range(4)))

    assert file.read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_without_a_name_there_is_nothing_to_wait_for() -> None:
    with only_writer(None), only_writer(None):
        pass
