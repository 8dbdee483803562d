"""Say an exit code in words: `python -m q2v.exit_code 4`, for make, which ends with 2 for any."""

import sys

from migrate.errors import ExitCode
from q2v.output.terminal import write_text


def explain_exit_code(code: int) -> str:
    """One line: what the code means, and whether the command may be run again."""
    known = {int(each): each for each in ExitCode}
    if code not in known:
        return f"exit code {code}: not one of q2v; treat it as a failure"
    found = known[code]
    return f"exit code {code}: {found.meaning}; safe to run again as is: {found.run_again}"


if __name__ == "__main__":
    write_text(sys.stderr, f"{explain_exit_code(int(sys.argv[1]))} (make itself ends with 2)\n")
