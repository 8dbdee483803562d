"""Moves as a Prefect flow: a task for each step, retried or failed by the exit code of q2v.

    python examples/schedulers/prefect_flow.py docs.toml wiki.toml

Q2V_FOLDER is the folder of the moves (default: moves).
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prefect import flow, task

RETRY = {7, 8, 11, 13, 130, 143}
STEPS = ("snapshot", "migrate", "reconcile")
FOLDER = Path(os.environ.get("Q2V_FOLDER", "moves"))


class StepError(Exception):
    """A step that did not end with 0."""

    def __init__(self, step: str, code: int) -> None:
        super().__init__(f"{step} ended with {code}")
        self.code = code


def run_step(config: str, step: str) -> None:
    """Run one command of q2v; raises StepError."""
    directory = FOLDER / Path(config).stem
    words = ["q2v", step, "--config", config, "--dir", str(directory)]
    if step != "snapshot":
        words += ["--budget", str(FOLDER / "budget")]
    if step == "migrate":
        words += ["--yes"]
    code = subprocess.run(words, check=False).returncode
    if code:
        raise StepError(step, code)


def may_be_tried_again(_task: Any, _run: Any, state: Any) -> bool:
    """Prefect asks this after a failure."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StepError) and error.code in RETRY


@task(
    task_run_name="{config}: {step}",
    retries=3,
    retry_delay_seconds=float(os.environ.get("Q2V_PAUSE_S", "60")),
    retry_condition_fn=may_be_tried_again,
)
def step_of(config: str, step: str) -> None:
    """One step of one move."""
    run_step(config, step)


@flow(flow_run_name="move {config}")
def move(config: str) -> None:
    """The steps of one move, one after the other."""
    for step in STEPS:
        step_of(config, step)


@flow
def moves(configs: list[str]) -> dict[str, str]:
    """All moves; one that fails does not stop the others. Returns the state of each."""
    return {config: move(config, return_state=True).type.value for config in configs}


if __name__ == "__main__":
    states = moves(sys.argv[1:])
    sys.exit(any(state != "COMPLETED" for state in states.values()))
