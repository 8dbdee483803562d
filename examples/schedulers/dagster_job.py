"""Moves as a Dagster job: an op for each step of each move, retried or failed by the exit code.

    export Q2V_CONFIGS="docs.toml wiki.toml"
    dagster job execute -f examples/schedulers/dagster_job.py -j moves

Q2V_FOLDER is the folder of the moves (default: moves). An op that fails stops the later steps of
its move; the ops of other moves run.
"""

import os
import subprocess
from pathlib import Path

from dagster import Failure, In, Nothing, OpDefinition, OpExecutionContext, RetryRequested, job, op

RETRY = {7, 8, 11, 13, 130, 143}
STEPS = ("snapshot", "migrate", "reconcile")
FOLDER = Path(os.environ.get("Q2V_FOLDER", "moves"))
CONFIGS = os.environ.get("Q2V_CONFIGS", "").split()
TRIES = 3
PAUSE_S = float(os.environ.get("Q2V_PAUSE_S", "60"))


def words_of(config: str, step: str) -> list[str]:
    """The command of a step."""
    directory = FOLDER / Path(config).stem
    words = ["q2v", step, "--config", config, "--dir", str(directory)]
    if step != "snapshot":
        words += ["--budget", str(FOLDER / "budget")]
    return [*words, "--yes"] if step == "migrate" else words


def step_of(config: str, step: str) -> OpDefinition:
    """The op of one step of one move."""

    @op(name=f"{Path(config).stem}_{step}".replace("-", "_"), ins={"before": In(Nothing)})
    def run_step(context: OpExecutionContext) -> None:
        code = subprocess.run(words_of(config, step), check=False).returncode
        context.log.info(f"{config}: {step} ended with {code}")
        if code in RETRY:
            raise RetryRequested(max_retries=TRIES, seconds_to_wait=PAUSE_S)
        if code:
            raise Failure(f"{config}: {step} ended with {code}", allow_retries=False)

    return run_step


@op
def begin() -> None:
    """What every move comes after."""
    FOLDER.mkdir(parents=True, exist_ok=True)


@job
def moves() -> None:
    """The steps of each move, one after the other."""
    start = begin()
    for config in CONFIGS:
        before = start
        for step in STEPS:
            before = step_of(config, step)(before)
