"""Install the official clients into `.clients/` and try all they have.

`.venv/bin/python -m tests.clients.run` prints one line per command: ok, refused as expected, or
FAILED; exit 1 on any failure. Needs npm, and wrangler as `make clients` installs it.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from sandbox.server import running_sandbox
from tests.clients import wrangler
from tests.clients.outcome import Outcomes
from tests.clients.real_wrangler import write_wrangler
from tests.harness.running.programs import run_program

HERE = Path(__file__).resolve().parent
CLIENTS = HERE.parents[1] / ".clients"
PYTHON_PACKAGES = ("cloudflare==5.9.0", "langchain-cloudflare")
NPM_PACKAGES = ("cloudflare",)


def main() -> int:
    """Install what is missing, then run each client against a sandbox of its own."""
    CLIENTS.mkdir(mode=0o700, exist_ok=True)
    _install()
    return max(
        _check_wrangler(), _check("python_sdk.py"), _check("langchain.py"), _check("npm_sdk.mjs")
    )


def _install() -> None:
    python = CLIENTS / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        _run([python, "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES])
    if not (CLIENTS / "node_modules").exists():
        (CLIENTS / "package.json").write_text('{"private": true}\n')
        _run(["npm", "install", "--no-fund", "--no-audit", *NPM_PACKAGES])


def _run(command: list[str | Path]) -> None:
    done = run_program(*command, cwd=CLIENTS, stdout=None, stderr=None)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, done.args)


def _environment(folder: Path, base_url: str, account_id: str, api_token: str) -> dict[str, str]:
    return {
        **os.environ,
        "CLOUDFLARE_API_BASE_URL": base_url,
        "CLOUDFLARE_ACCOUNT_ID": account_id,
        "CLOUDFLARE_API_TOKEN": api_token,
        "HOME": str(folder),
        "CI": "1",
        "WRANGLER_SEND_METRICS": "false",
    }


def _check_wrangler() -> int:
    with (
        tempfile.TemporaryDirectory() as folder_name,
        running_sandbox(Path(folder_name) / "state") as sandbox,
    ):
        folder = Path(folder_name)
        outcomes = Outcomes("wrangler")
        command = wrangler.Wrangler(
            write_wrangler(folder / "bin"),
            folder,
            _environment(folder, sandbox.base_url, sandbox.account_id, sandbox.api_token),
        )
        wrangler.check_vectorize(command, folder, outcomes)
        wrangler.check_kv(command, folder, outcomes)
        return int(outcomes.failed > 0)


def _check(script: str) -> int:
    """Run a script in the language of its client."""
    with (
        tempfile.TemporaryDirectory() as folder_name,
        running_sandbox(Path(folder_name) / "state") as sandbox,
    ):
        folder = Path(folder_name)
        if script.endswith(".mjs"):
            # Node looks for packages upwards from the script, so it runs from a copy beside them.
            program: list[str | Path] = ["node", CLIENTS / script]
            (CLIENTS / script).write_bytes((HERE / script).read_bytes())
        else:
            program = [CLIENTS / "venv" / "bin" / "python", HERE / script]
        environment = _environment(folder, sandbox.base_url, sandbox.account_id, sandbox.api_token)
        done = run_program(*program, env=environment, stdout=None, stderr=None)
        return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
