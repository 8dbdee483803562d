"""No form of token or key gets out: not on success, not on failure, not with every log at debug."""

import contextlib
import json
import random
import string
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from sandbox.profile import INSTANT
from tests.harness.running.secrecy import assert_secret_absent
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import Result

pytestmark = pytest.mark.fault("X01", "X02", "I10")

# What a token may hold: letters, digits, and some of what is escaped somewhere.
CHARACTERS = string.ascii_letters + string.digits + "+=&<>'$:@!-_.~|{}()[]^`*;,"
# Every logger there is at debug, and the printing debug switch of the standard library.
LOUD = """
    import http.client, logging
    import migrate.cloudflare.client.client  # quietens the libraries, so it has to come first
    http.client.HTTPConnection.debuglevel = 1
    for name in ("", "httpx", "httpcore", "urllib3", "grpc", "qdrant_client", "hpack"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    from q2v.main import main
    main()
"""


def secret(seed: str) -> str:
    """A random token, the same every time."""
    generator = random.Random(seed)
    return "".join(generator.choices(CHARACTERS, k=generator.randint(16, 48)))


@contextlib.contextmanager
def bench_of(folder: Path, seed: str) -> Iterator[tuple[Workbench, tuple[str, str]]]:
    token, key = secret(f"token {seed}"), secret(f"key {seed}")
    with workbench(folder, points(20), api_token=token, api_key=key) as bench:
        yield bench, (token, key)


def loudly(bench: Workbench, *words: str) -> Result:
    """A command as a process, with all logs at debug."""
    return bench.run_process(*words, program=textwrap.dedent(LOUD), as_json=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", "ab")
def test_a_whole_move_and_its_way_back_show_no_secret(tmp_path: Path, seed: str) -> None:
    with bench_of(tmp_path, seed) as (bench, secrets):
        done = [
            loudly(bench, *words)
            for words in (
                ("plan", "--json"),
                ("snapshot",),
                ("migrate",),
                ("reconcile", "--json"),
                ("rollback", "--execute"),
            )
        ]

        texts = [text for one in done for text in (one.stdout, one.stderr)]
        assert [one.exit_code for one in done] == [0] * 5, texts
        assert "DEBUG httpcore" in done[0].stderr  # the switches did switch something on
        assert "send_request_headers" in done[0].stderr
        for each in secrets:
            assert_secret_absent(each, [bench.directory], texts)


def refuse_token(bench: Workbench) -> None:
    bench.environment["CLOUDFLARE_API_TOKEN"] += "x"


def refuse_key(bench: Workbench) -> None:
    bench.environment["QDRANT_API_KEY"] += "x"


def close_target(bench: Workbench) -> None:
    bench.environment["CLOUDFLARE_API_BASE_URL"] = "http://127.0.0.1:9/client/v4"


def close_source(bench: Workbench) -> None:
    bench.environment["QDRANT_URL"] = "http://127.0.0.1:9"


def take_index_away(bench: Workbench) -> None:
    bench.environment["Q2V_VECTOR_INDEX"] = "nowhere"


def break_token(bench: Workbench) -> None:
    """More than one word: refused before it reaches a header."""
    bench.environment["CLOUDFLARE_API_TOKEN"] += " second-word"


def evil_host(bench: Workbench) -> None:
    bench.environment["CLOUDFLARE_API_BASE_URL"] = "https://api.cloudflare.com.evil/client/v4"


def token_in_the_address(bench: Workbench) -> None:
    """Pasted where it does not belong."""
    token = bench.environment["CLOUDFLARE_API_TOKEN"]
    bench.environment["CLOUDFLARE_API_BASE_URL"] = f"https://{token}@api.cloudflare.com/client/v4"


def token_as_a_name(bench: Workbench) -> None:
    bench.environment["Q2V_KV_NAMESPACE_ID"] = bench.environment["CLOUDFLARE_API_TOKEN"]


FAILURES: list[tuple[Callable[[Workbench], None], tuple[str, ...], set[int]]] = [
    (refuse_token, ("migrate", "--deadline-s", "3600"), {ExitCode.ACCESS}),
    (refuse_key, ("snapshot",), {ExitCode.ACCESS}),
    (close_target, ("migrate",), {ExitCode.UNAVAILABLE}),
    (close_source, ("snapshot", "--transport", "rest"), {ExitCode.UNAVAILABLE}),
    (take_index_away, ("migrate",), {ExitCode.PRECONDITION}),
    (break_token, ("migrate",), {ExitCode.USAGE}),
    (evil_host, ("migrate",), {ExitCode.USAGE}),
    (token_in_the_address, ("migrate",), {ExitCode.USAGE}),
    (token_as_a_name, ("plan",), {ExitCode.USAGE}),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "words", "codes"), FAILURES, ids=[one.__name__ for one, _, _ in FAILURES]
)
def test_a_failure_shows_no_secret(
    tmp_path: Path, break_it: Callable[[Workbench], None], words: tuple[str, ...], codes: set[int]
) -> None:
    with bench_of(tmp_path, "failures") as (bench, secrets):
        assert bench.run("snapshot").exit_code == 0
        break_it(bench)
        done = loudly(bench, *words, "--json")

        assert done.exit_code in codes, done.stderr
        assert json.loads(done.stdout)["error"]["exit_code"] == done.exit_code
        for each in (*secrets, *(bench.environment[name] for name in SECRET_VARIABLES)):
            assert_secret_absent(each, [bench.directory], [done.stdout, done.stderr])


SECRET_VARIABLES = ("CLOUDFLARE_API_TOKEN", "QDRANT_API_KEY")


@pytest.mark.slow
def test_a_crash_inside_the_http_client_shows_no_secret(tmp_path: Path) -> None:
    """A bug of a library, with the header in its message and in its frames."""
    crash = """
        import httpcore
        def handle(self, request):
            raise RuntimeError(f"cannot send {request.headers!r} {dict(request.headers)!r}")
        httpcore.ConnectionPool.handle_request = handle
    """
    with bench_of(tmp_path, "crash") as (bench, secrets):
        assert bench.run("snapshot").exit_code == 0
        script = textwrap.dedent(crash) + textwrap.dedent(LOUD)
        for words in (("migrate",), ("snapshot",)):
            done = bench.run_process(*words, program=script, as_json=False)

            assert done.exit_code != 0
            logs = [path.read_text() for path in bench.directory.glob("*.log")]
            assert done.exit_code == ExitCode.INTERNAL, done.stderr
            assert "cannot send" in "".join(logs)
            for each in secrets:
                assert_secret_absent(each, [bench.directory], [done.stdout, done.stderr])


@pytest.mark.slow
@pytest.mark.fault("X13")
def test_payload_text_is_in_the_stores_and_nowhere_else(tmp_path: Path) -> None:
    """Not in outputs, logs, reports, lists or plans, of points that move and of those that stay."""
    marker = "a-sentence-nobody-else-writes"
    stored = points(12)
    for position, point in enumerate(stored):
        more: dict[str, object] = {"text": f"{marker} {position}"}
        if position == 3:  # ill-typed: is left out
            more["chunk_index"] = marker
        if position == 4:
            more["nested"] = {"deep": {"deeper": marker}}
        stored[position] = replace(point, payload={**(point.payload or {}), **more})
    with workbench(tmp_path, stored) as bench:
        done = [
            loudly(bench, *words)
            for words in (
                ("plan", "--details"),
                ("snapshot",),
                ("migrate",),
                ("reconcile",),
                ("status",),
            )
        ]
        written = [path for path in bench.files() if path.suffix != ".parquet"]

        assert [one.exit_code for one in done] == [0, 0, 3, 3, 0], done[-1].stderr
        texts = [text for one in done for text in (one.stdout, one.stderr)]
        assert any("left out: " in text for text in texts)
        assert_secret_absent(marker, written, texts)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_secret_from_a_file_is_in_no_command_line_and_no_environment(tmp_path: Path) -> None:
    """Of the process and of every child, as long as it runs."""
    token, key = secret("proc token"), secret("proc key")
    profile = replace(INSTANT, name="slow-commits", commit_delay_s=0.3)
    with workbench(tmp_path, points(60), profile=profile, api_token=token, api_key=key) as bench:
        assert bench.run("snapshot").exit_code == 0
        for name, value in (("CLOUDFLARE_API_TOKEN", token), ("QDRANT_API_KEY", key)):
            path = tmp_path / name.lower()
            path.touch(mode=0o600)
            path.write_text(f"{value}\n")
            del bench.environment[name]
            bench.environment[f"{name}_FILE"] = str(path)

        process = bench.start("migrate", new_interpreter=True)
        seen: list[bytes] = []
        while process.poll() is None:
            seen += list(seen_by_ps(process.pid))
        process.communicate()

    assert process.returncode == 0
    assert any(b"migrate" in text for text in seen)
    for each in (token, key):
        assert_secret_absent(each, texts=set(seen))


def seen_by_ps(pid: int) -> Iterator[bytes]:
    """Command line and environment of a process and its children."""
    with contextlib.suppress(OSError):  # it may end while we look
        for name in ("cmdline", "environ"):
            yield Path(f"/proc/{pid}/{name}").read_bytes()
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from seen_by_ps(int(child))
