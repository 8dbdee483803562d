"""The address of a folder in an object store: s3://BUCKET/PREFIX?endpoint=URL&region=NAME.

It holds no secret. Credentials come from the AWS variables or files of the machine that opens it.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from typing_extensions import override

from migrate.errors import UsageError
from migrate.loopback import is_loopback

SCHEME = "s3://"
_TYPED_AS_PATH = "s3:/"  # `Path` joins two slashes
_OPTIONS = ("endpoint", "region")
_EXAMPLE = "s3://BUCKET/PREFIX?endpoint=https://ACCOUNT.r2.cloudflarestorage.com&region=auto"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of an object store, and where it is."""

    name: str
    endpoint: str | None = None  # None: AWS_ENDPOINT_URL, or Amazon's own of the region
    region: str | None = None  # None: AWS_REGION, AWS_DEFAULT_REGION or us-east-1

    @property
    def query(self) -> str:
        """What follows the address of everything in the bucket; "" without options."""
        given = [(name, text) for name in _OPTIONS if (text := getattr(self, name)) is not None]
        return f"?{urlencode(given, safe=':/', quote_via=quote)}" if given else ""


@dataclass(frozen=True, slots=True)
class ObjectAddress:
    """A folder or an object: a bucket, and a key in it."""

    bucket: Bucket
    key: str  # without a slash at its ends; "": the bucket itself

    @override
    def __str__(self) -> str:
        """As it is typed."""
        return f"{SCHEME}{self.bucket.name}{'/' if self.key else ''}{self.key}{self.bucket.query}"

    @property
    def name(self) -> str:
        """The last part of the key, or the name of the bucket."""
        return self.key.rpartition("/")[2] or self.bucket.name

    @property
    def parent(self) -> "ObjectAddress":
        """The folder that it lies in; the bucket lies in itself."""
        return ObjectAddress(self.bucket, self.key.rpartition("/")[0])

    def child(self, name: str) -> "ObjectAddress":
        """What has this name in the folder."""
        return ObjectAddress(self.bucket, f"{self.key}/{name}" if self.key else name)


def is_object_address(typed: str | Path) -> bool:
    """Whether a text, or a path as click makes it, is meant to be in an object store."""
    return str(typed).startswith(_TYPED_AS_PATH)


def parse_object_address(typed: str | Path) -> ObjectAddress:
    """The address in a text or a path; raises UsageError for one that cannot be opened."""
    text = str(typed)
    if text.startswith(_TYPED_AS_PATH) and not text.startswith(SCHEME):
        text = SCHEME + text.removeprefix(_TYPED_AS_PATH)
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        options = {} if "?" not in text else {"?": ""}
        parts = urlsplit(text.partition("?")[0])
    if set(options) - set(_OPTIONS) or not all(options.values()):
        found, expected = ", ".join(options), " and ".join(_OPTIONS)
        raise _refused(text, f"found options {found}, expected {expected}")
    if parts.scheme != "s3" or not parts.hostname or parts.netloc != parts.hostname:
        raise _refused(text, "found no plain name of a bucket")
    key = parts.path.strip("/")
    if parts.fragment or "//" in key or {".", ".."} & set(key.split("/")):
        raise _refused(text, "found a prefix that is no plain path")
    if (endpoint := options.get("endpoint")) is not None:
        # `Path` joins the slashes here too.
        endpoint = endpoint.replace(":/", "://", 1) if "://" not in endpoint else endpoint
        check_endpoint(text, endpoint)
    return ObjectAddress(Bucket(parts.hostname, endpoint, options.get("region")), key)


def check_endpoint(text: str, endpoint: str) -> None:
    """Raises UsageError unless points may be sent there; `text` is what named the endpoint."""
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"https", "http"} or not host or parts.username or parts.query:
        raise _refused(text, f"found the endpoint {endpoint}, which is no URL of a server")
    if parts.scheme == "http" and not is_loopback(host):
        raise _refused(
            text,
            f"found the endpoint {endpoint}: without TLS the points could be read and changed "
            "on their way; http is for servers on this machine",
        )


def _refused(text: str, found: str) -> UsageError:
    return UsageError(f"{text}: {found}", remedy=f"write the address as {_EXAMPLE}")
