"""The command as a process: signals, pipes, and what a start costs."""

import json
import os
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from q2v.output.logs import prepare_worker
from tests.harness.running.programs import run_python, start_python

HEAVY = ("pyarrow", "numpy", "duckdb", "qdrant_client", "grpc", "httpx", "orjson", "tqdm")

WAITING = """
    import sys, threading, click
    from pathlib import Path
    from q2v import options
    from q2v.commands import LazyCommand
    from q2v.__main__ import run
    from q2v.main import cli

    import signal
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run with nohup

    @click.command()
    @options.folder_option
    @options.json_option
    def command(folder: Path, as_json: bool) -> None:
        try:
            print("ready", file=sys.stderr, flush=True)
            threading.Event().wait()
        finally:
            print("flushing", file=sys.stderr, flush=True)
            AFTER

    cli.table["wait"] = LazyCommand("__main__:command", "Wait.")
    run()
"""


def start(script: str, *words: str) -> subprocess.Popen[str]:
    """A process of q2v with a throw-away command."""
    return start_python(
        *("-c", textwrap.dedent(script), *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    """Return when the process has said this on stderr."""
    assert process.stderr is not None
    assert process.stderr.readline() == f"{line}\n"


@pytest.mark.slow
@pytest.mark.fault("G12")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.TERMINATED),
        (signal.SIGHUP, ExitCode.TERMINATED),
    ],
)
@pytest.mark.parametrize("after", ["pass", "raise OSError('while flushing')"])
def test_a_signal_lets_the_command_flush_and_decides_the_code(
    number: signal.Signals, code: ExitCode, after: str
) -> None:
    """Whatever else fails on the way out."""
    process = start(WAITING.replace("AFTER", after), "wait", "--json")
    wait_for(process, "ready")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)

    assert process.returncode == code
    assert stderr.startswith(f"flushing\nq2v: stopped by {number.name}")
    assert json.loads(stdout)["error"]["exit_code"] == code


@pytest.mark.slow
@pytest.mark.fault("G12")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_now(number: signal.Signals) -> None:
    process = start(WAITING.replace("AFTER", "threading.Event().wait()"), "wait")
    wait_for(process, "ready")
    process.send_signal(signal.SIGTERM)
    wait_for(process, "flushing")
    process.send_signal(number)
    process.communicate(timeout=300)

    assert process.returncode == -number


@pytest.mark.slow
@pytest.mark.fault("G12")
def test_a_second_hangup_does_not_disturb_the_flush() -> None:
    """A shell passes on the one that it gets, and the system sends another one."""
    process = start(WAITING.replace("AFTER", "sys.stdin.readline()"), "wait")
    wait_for(process, "ready")
    process.send_signal(signal.SIGHUP)
    wait_for(process, "flushing")
    process.send_signal(signal.SIGHUP)
    process.communicate("\n", timeout=300)

    assert process.returncode == ExitCode.TERMINATED


def test_a_second_hangup_after_the_flush_does_not_kill_the_process_at_its_end() -> None:
    script = """
        import signal
        from q2v.signals import Stopped, StopSignals
        try:
            with StopSignals():
                signal.raise_signal(signal.SIGHUP)
        except Stopped:
            pass
        signal.raise_signal(signal.SIGHUP)
        print("still here")
    """
    process = start(script)
    stdout, _ = process.communicate(timeout=300)

    assert (process.returncode, stdout) == (0, "still here\n")


@pytest.mark.slow
@pytest.mark.fault("G12")
def test_a_hangup_that_the_caller_ignores_is_ignored() -> None:
    """As with nohup."""
    process = start(
        WAITING.replace("import sys,", "import signal, sys,", 1).replace(
            "    run()", "    signal.signal(signal.SIGHUP, signal.SIG_IGN); run()"
        ),
        "wait",
    )
    wait_for(process, "ready")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=300)

    assert process.returncode == ExitCode.TERMINATED
    assert "stopped by SIGTERM" in stderr


def test_help_imports_nothing_heavy() -> None:
    script = f"""
        import sys
        from q2v.main import cli
        try:
            cli.main(["--help"])
        except SystemExit as end:
            assert end.code == 0
        print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
    """
    process = start(script)
    stdout, stderr = process.communicate(timeout=300)

    assert stderr == "[]\n"
    assert "Commands:" in stdout


@pytest.mark.fault("G12")
def test_ctrl_c_while_modules_load_ends_the_process_without_a_page_of_python() -> None:
    process = start(
        """
        import importlib.abc, os, signal, sys
        from q2v.__main__ import run

        class Interrupted(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name == "q2v.main":
                    os.kill(os.getpid(), signal.SIGINT)
                    sum(range(10))  # Python code, so that a handler runs

        sys.meta_path.insert(0, Interrupted())
        run()
        """
    )
    stdout, stderr = process.communicate(timeout=300)

    assert (stdout, stderr) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_settings_and_options_import_nothing_heavy() -> None:
    """The help of a command waits for its options only."""
    process = start(
        "import sys, q2v.options, q2v.settings\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )

    assert process.communicate(timeout=300)[1] == "[]\n"


@pytest.mark.slow
def test_a_command_loads_no_database_and_no_event_loop_before_it_uses_one() -> None:
    """Half of the commands need neither; both take a fifth of the time until a command works."""
    process = start(
        "import sys, q2v.wiring\n"
        "names = ('duckdb', 'tenacity', 'asyncio', 'pyarrow.compute', 'reconcile.stores')\n"
        "print([name for name in names if name in sys.modules], file=sys.stderr)"
    )

    assert process.communicate(timeout=300)[1] == "[]\n"


@pytest.mark.slow
def test_a_worker_loads_its_tasks_and_nothing_of_a_command() -> None:
    """What prepares it is in a light module; what makes the page of a reconcile comes when used."""
    process = start(
        "import sys, q2v.output.logs, reconcile.report.report\n"
        "names = ('q2v.wiring', 'q2v.settings', 'jinja2')\n"
        "print([name for name in names if name in sys.modules], file=sys.stderr)"
    )

    assert process.communicate(timeout=300)[1] == "[]\n"
    assert prepare_worker.__module__ == "q2v.output.logs"


PRINTING = """
    import click
    from q2v.commands import LazyCommand
    from q2v.__main__ import run
    from q2v.main import cli
    from q2v.output.render import write_line

    @click.command()
    def command() -> None:
        for _ in range(100_000):
            write_line("x" * 70)

    cli.table["print"] = LazyCommand("__main__:command", "Print.")
    run()
"""


def test_a_reader_that_leaves_is_no_reason_to_complain() -> None:
    process = start(PRINTING, "print")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("xxx")
    process.stdout.close()
    stderr = process.stderr.read()
    process.wait(timeout=300)
    process.stderr.close()

    assert stderr == ""
    assert process.returncode == ExitCode.LOCAL_IO


@pytest.mark.fault("G04")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize(
    "write", ["write_line('result')", "sys.stdout.write('left in the buffer')"]
)
def test_a_full_disk_under_stdout_is_local_io(write: str) -> None:
    script = f"""
        import sys, click
        from q2v.commands import LazyCommand
        from q2v.__main__ import run
        from q2v.main import cli
        from q2v.output.render import write_line

        @click.command()
        def command() -> None:
            {write}

        cli.table["print"] = LazyCommand("__main__:command", "Print.")
        run()
    """
    with Path("/dev/full").open("w") as full:
        done = run_python("-c", textwrap.dedent(script), "print", stdout=full)

    assert done.returncode == ExitCode.LOCAL_IO
    assert done.stderr.startswith("q2v: local input or output failed: No space left")
    assert len(done.stderr.splitlines()) == 2


def test_the_end_of_a_process_waits_for_threads_and_for_what_libraries_do_at_exit() -> None:
    script = """
        import atexit, click, threading
        from q2v.__main__ import run
        from q2v.commands import LazyCommand
        from q2v.main import cli

        def finish() -> None:
            threading.main_thread().join()
            print("a thread has finished")

        @click.command()
        def command() -> None:
            atexit.register(print, "a library has finished")
            threading.Thread(target=finish).start()
            click.get_current_context().exit(5)

        cli.table["end"] = LazyCommand("__main__:command", "End.")
        run()
    """
    done = run_python("-c", textwrap.dedent(script), "end")

    assert done.returncode == 5, done.stderr
    assert done.stdout.splitlines() == ["a thread has finished", "a library has finished"]


@pytest.mark.slow
@pytest.mark.fault("X01", "X02")
def test_a_secret_is_in_no_output_of_a_crash(tmp_path: Path) -> None:
    """Log, error, traceback and document of a process that knows the secret."""
    script = """
        import logging, os, click
        from pathlib import Path
        from q2v import options
        from q2v.commands import LazyCommand
        from q2v.__main__ import run
        from q2v.main import cli
        from q2v.secret_files import load_secret
        from q2v.options import takes
        from q2v.settings import Settings

        @takes("target.api_token")
        @click.command()
        @options.folder_option
        @options.json_option
        def command(folder: Path, as_json: bool, settings: Settings) -> None:
            token = load_secret(settings.target.api_token).reveal()
            logging.getLogger("httpx").warning("header %r", {"Authorization": f"Bearer {token}"})
            raise RuntimeError(f"the service said {token}")

        cli.table["crash"] = LazyCommand("__main__:command", "Crash.")
        run()
    """
    done = run_python(
        *("-c", textwrap.dedent(script), "crash", "--json", "--dir", tmp_path),
        env={**os.environ, "CLOUDFLARE_API_TOKEN": "hunter2hunter2"},
    )
    log = (tmp_path / "q2v-crash-1.log").read_text()

    assert done.returncode == ExitCode.INTERNAL
    assert "Bearer ***" in done.stderr
    assert "RuntimeError: the service said ***" in log
    assert "hunter2" not in done.stdout + done.stderr + log
