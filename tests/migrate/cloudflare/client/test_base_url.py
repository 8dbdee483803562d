"""The guard that decides whether an address may ever see the token."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.cloudflare.client.base_url import PUBLIC_BASE_URL, PUBLIC_HOST, parse_base_url
from migrate.errors import UsageError

pytestmark = pytest.mark.fault("X08")

LOOK_ALIKES = [
    "https://api.cloudflare.com.evil/client/v4",
    "https://api.cloudflare.com@evil.example/client/v4",
    "https://user:word@api.cloudflare.com/client/v4",
    "https://api.cloudflare.com./client/v4",
    "https://api.cloudflare.com:8443/client/v4",
    "https://evil.example/api.cloudflare.com",
    "https://api-cloudflare.com/client/v4",
    "https://api.cl\u043eudflare.com/client/v4",
    "https://xn--api-cloudflare-9ng.com/client/v4",
    "https://api.cloudflare.com\\@evil.example",
    "https://api.cloudflare.com%2eevil.example",
    "https://api.cloudflare.com/client/v4?next=https://evil.example",
    "https://api.cloudflare.com/client/v4#x",
    "https://api.cloudflare.com/client/../v4",
    "https://api.cloudflare.com\n.evil.example",
    "http://api.cloudflare.com/client/v4",
    "ftp://api.cloudflare.com/client/v4",
    "//api.cloudflare.com",
    "api.cloudflare.com",
    "",
    "http://127.0.0.1.evil.example",
    "http://localhost.evil.example",
    "http://localhost./client/v4",
    "http://127.1/client/v4",
    "http://2130706433/client/v4",
    "http://0x7f000001/client/v4",
    "http://[::ffff:127.0.0.1]/client/v4",
    "http://0.0.0.0:8080",
    "http://10.0.0.1:8080",
    "http://127.0.0.1:0",
    "http://127.0.0.1:65536",
]


@pytest.mark.parametrize("text", LOOK_ALIKES, ids=ascii)
def test_what_only_resembles_an_allowed_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_base_url(text)


@pytest.mark.parametrize(
    ("text", "url", "loopback"),
    [
        (PUBLIC_BASE_URL, PUBLIC_BASE_URL, False),
        ("https://API.Cloudflare.com/client/v4/", PUBLIC_BASE_URL, False),
        (
            "https://api.cloudflare.com:443/client/v4",
            "https://api.cloudflare.com:443/client/v4",
            False,
        ),
        ("http://127.0.0.1:8787/client/v4", "http://127.0.0.1:8787/client/v4", True),
        ("http://localhost:8787", "http://localhost:8787", True),
        ("https://[::1]:8787/client/v4", "https://[::1]:8787/client/v4", True),
    ],
)
def test_the_public_api_and_this_machine_are_taken(text: str, url: str, loopback: bool) -> None:
    base_url = parse_base_url(text)

    assert (url, loopback) == (base_url.url, base_url.loopback)


@pytest.mark.fault("X07")
def test_another_host_needs_the_flag_and_tls() -> None:
    with pytest.raises(UsageError):
        parse_base_url("https://proxy.example/v4")
    assert parse_base_url("https://proxy.example/v4", allow_other_host=True).host == "proxy.example"
    with pytest.raises(UsageError, match="plain http"):
        parse_base_url("http://proxy.example/v4", allow_other_host=True)
    with pytest.raises(UsageError):
        parse_base_url("https://user@proxy.example/v4", allow_other_host=True)


def test_a_password_in_the_address_is_not_repeated() -> None:
    with pytest.raises(UsageError) as refusal:
        parse_base_url("https://user:hunter2@api.cloudflare.com/client/v4")

    assert "hunter2" not in str(refusal.value)


@given(st.text(string.printable + "\u3002\uff0e\u2024\u043e\u0131", max_size=40))
def test_no_text_around_the_public_name_gets_another_host_through(noise: str) -> None:
    """Whatever is put before, after or into the address: taken means exactly the known host."""
    for text in (
        f"https://{PUBLIC_HOST}{noise}",
        f"https://{noise}{PUBLIC_HOST}/client/v4",
        f"https://{noise}@{PUBLIC_HOST}",
        f"https://api.{noise}cloudflare.com",
    ):
        try:
            base_url = parse_base_url(text)
        except UsageError:
            continue

        assert base_url.host == PUBLIC_HOST
        assert base_url.url.startswith(
            (f"https://{PUBLIC_HOST}/", f"https://{PUBLIC_HOST}:443")
        ) or (base_url.url == f"https://{PUBLIC_HOST}")
