"""The audit finds what differs from the lock, and never says "checked" of what it could not ask."""

import json
from importlib.metadata import distributions
from pathlib import Path

import httpx
import pytest

from tools.audit.advisories import Asked, NotAsked, ask
from tools.audit.lock import compare, compare_extras, read_lock
from tools.audit.sbom import encode_sbom

pytestmark = pytest.mark.fault("X11")

LOCK = (Path(__file__).parents[3] / "requirements.lock").read_text(encoding="utf-8")
SUM = "0" * 64


def test_the_lock_of_the_project_pins_everything_with_hashes() -> None:
    lock = read_lock(LOCK)

    assert lock.complaints == ()
    assert len(lock.pins) > 40
    assert {"pyarrow", "httpx", "click"} <= {pin.name for pin in lock.pins}
    assert all(pin.sha256 for pin in lock.pins)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"a>=1 --hash=sha256:{SUM}", "not pinned"),
        (f"a --hash=sha256:{SUM}", "not pinned"),
        (f"a==1.* --hash=sha256:{SUM}", "not pinned"),
        (f"a==1,!=2 --hash=sha256:{SUM}", "not pinned"),
        ("a==1", "no SHA-256"),
        ("a==1 --hash=md5:0000", "no SHA-256"),
        (f"a==1 --hash=sha256:{SUM[1:]}", "no SHA-256"),
        (f"a @ https://example.org/a.whl --hash=sha256:{SUM}", "address of its own"),
        (f"a @ git+ssh://example.org/a --hash=sha256:{SUM}", "address of its own"),
        ("--extra-index-url https://example.org", "an option"),
        ("-e .", "an option"),
        ("./a.whl", "no requirement"),
    ],
)
def test_a_line_that_pins_less_is_a_complaint(line: str, why: str) -> None:
    lock = read_lock(f"# comment\nb==2 \\\n    --hash=sha256:{SUM}  # why\n{line}\n")

    assert [pin.name for pin in lock.pins] == ["b"]
    (complaint,) = lock.complaints
    assert why in complaint


def test_what_differs_from_the_lock_is_named() -> None:
    lock = read_lock(
        "".join(
            f"{line} --hash=sha256:{SUM}\n"
            for line in ("Same_Name==1", "other==1", "gone==1", "no==1 ; python_version < '3'")
        )
    )

    assert compare(lock.pins, {"same-name": "1", "other": "2", "more": "3", "pip": "9"}) == [
        "more 3 is installed and not locked",
        "gone 1 is locked and not installed",
        "other 2 is installed, 1 is locked",
    ]


@pytest.mark.slow
def test_an_extra_that_somebody_asks_for_is_locked_with_it() -> None:
    """Else a fresh install fails on the day on which a newer version appears."""
    whole = read_lock(LOCK)
    bare = read_lock(LOCK.replace("coverage[toml]", "coverage"))
    assert whole.pins != bare.pins

    assert compare_extras(whole.pins, distributions()) == []
    assert compare_extras(bare.pins, distributions()) == [
        "pytest-cov asks for coverage[toml]: not locked"
    ]


def answering(handle: httpx.MockTransport) -> httpx.Client:
    return httpx.Client(transport=handle)


def test_a_known_vulnerability_is_named() -> None:
    asked: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        return httpx.Response(200, json={"results": [{}, {"vulns": [{"id": "PYSEC-1"}]}]})

    found = ask({"b": "2", "a": "1"}, answering(httpx.MockTransport(answer)))

    assert found == Asked(("b 2: PYSEC-1",))
    assert asked == [
        {
            "queries": [
                {"package": {"name": "a", "ecosystem": "PyPI"}, "version": "1"},
                {"package": {"name": "b", "ecosystem": "PyPI"}, "version": "2"},
            ]
        }
    ]


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route", request=request)


@pytest.mark.parametrize(
    "answer",
    [
        refuse,
        lambda _: httpx.Response(503),
        lambda _: httpx.Response(200, text="<html>"),
        lambda _: httpx.Response(200, json={}),
        lambda _: httpx.Response(200, json={"results": []}),
        lambda _: httpx.Response(200, json={"results": [{"vulns": 5}]}),
    ],
)
def test_a_database_that_does_not_answer_is_no_clean_bill(answer: object) -> None:
    assert callable(answer)
    found = ask({"a": "1"}, answering(httpx.MockTransport(answer)))

    assert isinstance(found, NotAsked)
    assert found.why


@pytest.mark.slow
def test_the_bill_of_materials_holds_every_distribution_once() -> None:
    """The members that CycloneDX 1.6 requires, references that lead somewhere, no time in it."""
    found = list(distributions())
    text = encode_sbom(found, read_lock(LOCK).pins)
    document = json.loads(text)

    assert (document["bomFormat"], document["specVersion"], document["version"]) == (
        "CycloneDX",
        "1.6",
        1,
    )
    assert document["serialNumber"].startswith("urn:uuid:")
    references = [component["bom-ref"] for component in document["components"]]
    assert len(references) == len(set(references))
    assert any(reference.startswith("pkg:pypi/pyarrow@") for reference in references)
    for component in document["components"]:
        assert component["type"] == "library"
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
    main = document["metadata"]["component"]["bom-ref"]
    known = {main, *references}
    assert {entry["ref"] for entry in document["dependencies"]} == known
    assert all(set(entry["dependsOn"]) <= known for entry in document["dependencies"])
    assert text == encode_sbom(reversed(found), read_lock(LOCK).pins)
