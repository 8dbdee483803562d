"""Moves as an Airflow DAG: a task for each step of each move, retried or failed by the exit code.

Put it into the DAGs folder, with Q2V_CONFIGS="docs.toml wiki.toml" in the scheduler's environment.
Q2V_FOLDER is the folder of the moves (default: moves). All tasks have to run on one machine. A task
that fails stops the later steps of its move; the tasks of other moves run.
"""

import os
import subprocess
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

RETRY = {7, 8, 11, 13, 130, 143}
STEPS = ("snapshot", "migrate", "reconcile")
FOLDER = Path(os.environ.get("Q2V_FOLDER", "moves"))
CONFIGS = os.environ.get("Q2V_CONFIGS", "").split()


def run_step(config: str, step: str) -> None:
    """Run one command of q2v. AirflowFailException is not retried, AirflowException is."""
    directory = FOLDER / Path(config).stem
    words = ["q2v", step, "--config", config, "--dir", str(directory)]
    if step != "snapshot":
        words += ["--budget", str(FOLDER / "budget")]
    if step == "migrate":
        words += ["--yes"]
    code = subprocess.run(words, check=False).returncode
    if code in RETRY:
        raise AirflowException(f"{config}: {step} ended with {code}, which is tried again")
    if code:
        raise AirflowFailException(f"{config}: {step} ended with {code}")


@dag(schedule=None, catchup=False, max_active_tasks=4)
def q2v_moves() -> None:
    """The steps of each move, one after the other."""
    for config in CONFIGS:
        before = None
        for step in STEPS:
            settings = {
                "task_id": f"{Path(config).stem}-{step}",
                "retries": 3,
                "retry_delay": timedelta(seconds=float(os.environ.get("Q2V_PAUSE_S", "60"))),
            }
            this = task(**settings)(run_step)(config, step)
            if before is not None:
                before >> this
            before = this


q2v_moves()
