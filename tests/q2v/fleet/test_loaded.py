"""The process that forks for each command of a fleet has every command and nothing that runs."""

from tests.harness.running.programs import output_of_python

_LOOK = """
import gc, sys
from pathlib import Path
import q2v.commands.loaded
from q2v.commands import COMMANDS

places = [one.place.partition(":")[0] for one in COMMANDS.values() if not one.extra]
links = [path for path in Path("/proc/self/fd").iterdir() if path.exists()]
print(sorted(place for place in places if place not in sys.modules))
print(len(list(Path("/proc/self/task").iterdir())))
print([str(path.readlink()) for path in links if "socket" in str(path.readlink())])
print(gc.get_freeze_count() > 0)
"""


def test_all_commands_are_loaded_without_a_thread_or_a_connection() -> None:
    assert output_of_python("-c", _LOOK).splitlines() == ["[]", "1", "[]", "True"]
