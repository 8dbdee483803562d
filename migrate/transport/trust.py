"""The trusted certificate authorities: one list for every TLS connection.

gRPC has a list of its own and does not read SSL_CERT_FILE and SSL_CERT_DIR. This module reads the
list for both TLS libraries, so that they trust the same certificates.
"""

import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

import certifi

from migrate.errors import UsageError

CERT_FILE, CERT_DIR = "SSL_CERT_FILE", "SSL_CERT_DIR"  # as OpenSSL and most tools name them
SETTING = "tls.ca_file"
CLIENT_CERT, CLIENT_KEY = "tls.client_cert_file", "tls.client_key_file"
FILE_BYTES_MAX = 16 * 1024 * 1024  # the list of all public authorities has 0.3 MB

# Keys and comments in a PEM file are left out: a trust list needs no key.
_CERTIFICATE = re.compile(
    rb"-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)


def read_authorities(ca_file: Path | None = None) -> bytes:
    """The certificates of all trusted authorities as PEM.

    These are the authorities of SSL_CERT_FILE; else those of SSL_CERT_DIR; else the public ones
    that certifi ships. The authorities in `ca_file` are trusted as well. Raises UsageError for a
    file that cannot be read or holds no certificate.
    """
    named_file, named_folder = os.environ.get(CERT_FILE), os.environ.get(CERT_DIR)
    if named_file:
        found = _read(Path(named_file), CERT_FILE)
    elif named_folder:
        found = _read_folder(Path(named_folder))
    else:
        found = _read(Path(certifi.where()), "the list of public authorities (certifi)")
    if ca_file is not None:
        found += _read(ca_file, SETTING)
    return b"\n".join(found) + b"\n"


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The certificate that this machine shows to a server (mTLS): two PEM files.

    Only the host that it is configured for gets to see it; no proxy does.
    """

    cert_file: Path  # the certificate, then those between it and its authority
    key_file: Path  # its key, without a passphrase

    def show_in(self, context: ssl.SSLContext) -> None:
        """Have a context show it. Raises UsageError for files that are no such pair."""
        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_passphrase)
        except (OSError, ValueError) as error:  # of OpenSSL, too
            found = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise UsageError(
                f"{CLIENT_CERT} ({self.cert_file}) and {CLIENT_KEY} ({self.key_file}): found files "
                f"that cannot be used ({found}), expected a certificate and its key in PEM form, "
                "the key without a passphrase",
                remedy=f"correct {CLIENT_CERT} and {CLIENT_KEY}; `openssl x509 -in FILE -noout "
                "-text` shows a certificate",
            ) from error

    def read(self) -> tuple[bytes, bytes]:
        """The content of both files, the certificate first. Raises as `show_in`."""
        self.show_in(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # gRPC would only fail to connect
        return self.cert_file.read_bytes(), self.key_file.read_bytes()


def _no_passphrase() -> str:
    """OpenSSL would ask on the terminal."""
    raise ValueError("the key has a passphrase")


# The alerts of servers that refuse a client for its certificate, or for having none.
_ALERTS = (
    "ALERT_CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA",
    "ALERT_HANDSHAKE_FAILURE",
)


def is_client_refused(text: str) -> bool:
    """Whether an error of OpenSSL says that the server refuses this client's certificate."""
    return any(alert in text for alert in _ALERTS)


def client_remedy() -> str:
    """The operator's next step after a server has refused the certificate of this client."""
    return (
        f"set {CLIENT_CERT} (Q2V_TLS_CLIENT_CERT_FILE) and {CLIENT_KEY} to a certificate of an "
        "authority that the server trusts, or renew it"
    )


def trusting_context(
    ca_file: Path | None = None, client: ClientCertificate | None = None
) -> ssl.SSLContext:
    """A context for TLS 1.2 or newer that verifies certificates and host names.

    It shows the certificate of `client`. No setting weakens it. Raises UsageError for a list, or a
    certificate, that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authorities = read_authorities(ca_file).decode("ascii")
    try:
        context.load_verify_locations(cadata=authorities)
    except ssl.SSLError as error:
        raise _refused(_named(ca_file), f"a certificate that cannot be read ({error})") from error
    if client is not None:
        client.show_in(context)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    return context


def distrust_remedy(host: str) -> str:
    """The operator's next step after a certificate that is not trusted."""
    return (
        f"check that {host} is the right host; if its certificate is of a private authority, set "
        f"{SETTING} (Q2V_TLS_CA_FILE) to the PEM file of that authority"
    )


def _named(ca_file: Path | None) -> str:
    named = [name for name in (CERT_FILE, CERT_DIR) if os.environ.get(name)][:1]
    return " or ".join([*named, *([] if ca_file is None else [f"{SETTING} ({ca_file})"])])


def _read(path: Path, named_by: str) -> list[bytes]:
    try:
        if path.exists() and not path.is_file():  # reading a pipe might never end
            raise _refused(f"{named_by} ({path})", "no regular file")
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise _refused(
            f"{named_by} ({path})", f"a file that cannot be read ({error.strerror})"
        ) from error
    found = _CERTIFICATE.findall(content)
    if not found:
        raise _refused(f"{named_by} ({path})", "no certificate in it")
    return list(found)


def _read_folder(folder: Path) -> list[bytes]:
    """Every distinct certificate of the folder."""
    found: dict[bytes, None] = {}
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        for path in files:
            with path.open("rb") as file:
                found |= dict.fromkeys(_CERTIFICATE.findall(file.read(FILE_BYTES_MAX)))
    except OSError as error:
        raise _refused(
            f"{CERT_DIR} ({folder})", f"a folder that cannot be read ({error.strerror})"
        ) from error
    if not found:
        raise _refused(f"{CERT_DIR} ({folder})", "no certificate in it")
    return list(found)


def _refused(place: str, what: str) -> UsageError:
    return UsageError(
        f"{place}: found {what}, expected certificates of authorities in PEM form",
        remedy=f"correct {place.partition(' ')[0]}, or unset it to trust the public authorities",
    )
