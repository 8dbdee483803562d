"""Run the canaries: `python -m tests.faults.canaries`."""

from tests.faults.canaries.run import main

main()
