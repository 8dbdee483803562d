"""Start one command and say what it cost: `python -m benchmarks.launch RESULT COMMAND...`.

A process of its own, and a small one: Linux gives a process that is started the peak memory of
the one that starts it.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command with this process's streams, write the figures, end with its status."""
    result, *command = sys.argv[1:]
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)  # with the processes that it has waited for
    figures = {"cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss // 1024}
    Path(result).write_text(json.dumps(figures), encoding="ascii")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
