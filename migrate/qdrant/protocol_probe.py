"""Find out which protocol a port speaks, by a few bytes of each protocol in question.

No key is sent, and no certificate check is disabled. The first bytes of an answer are enough to
distinguish TLS, HTTP/1.1 and HTTP/2, which gRPC needs.
"""

import re
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from migrate.transport.deadline import Line
from migrate.transport.masking import printable
from migrate.transport.trust import is_client_refused, trusting_context

ANSWER_S = 3.0  # for each question; a slower server counts as silent
ALERT_S = 1.0  # for an alert after the handshake; servers of HTTP/1.1 are silent there
ANSWER_BYTES = 256
ENOUGH_BYTES = (
    12  # to distinguish the protocols: "HTTP/1.1 200"; a slow peer may send one byte at a time
)
WORDS_CHARACTERS_MAX = 60

_HTTP_QUESTION = b"GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: q2v\r\nConnection: close\r\n\r\n"
# The preface of HTTP/2 and an empty SETTINGS frame.
_HTTP2_QUESTION = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_HTTP_START = b"HTTP/1."
_HTTP_ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3})")
_HTTP2_FIRST = {4, 7}  # SETTINGS; GOAWAY from a server that refuses at once
_FRAME_HEAD_BYTES = 9
_TLS_1 = 3  # the first byte of every version of it
_TLS_RECORDS = {0x15, 0x16}  # alert, handshake
# The statuses with which servers that require TLS answer plain HTTP.
_WANTS_TLS = {400, 426, 497}


class Spoken(StrEnum):
    """The protocol of a port, by the first bytes of its answers."""

    HTTP = "HTTP/1.1"
    HTTP2 = "HTTP/2 (gRPC)"
    TLS = "TLS"
    OTHER = "another protocol"
    SILENCE = "nothing"  # connections are taken, and no question is answered
    CLOSED = "no connection"  # refused, reset, or ended without a word


KNOWN = (Spoken.HTTP, Spoken.HTTP2, Spoken.TLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The protocol found at a port."""

    spoken: Spoken
    tls: bool = False  # whether it is spoken within TLS
    words: str = ""  # the beginning of another protocol, printable


def probe_port(line: Line, port: int, wanted: Spoken) -> Found:
    """The protocol of a port. Tries `wanted` (HTTP or HTTP2) first, in TLS if the line has it."""
    plain = {
        Spoken.HTTP: _http_question(line),
        Spoken.HTTP2: _HTTP2_QUESTION,
    }
    questions = [plain.pop(wanted), *plain.values()]
    hello = client_hello(line)
    asked = [hello, *questions] if line.tls else [questions[0], hello, questions[1]]
    found = _first_answer(line, port, asked)
    if found.spoken is Spoken.TLS and line.tls:
        return _probe_within_tls(line, port, questions)
    return found


def _first_answer(line: Line, port: int, questions: Iterable[bytes]) -> Found:
    """What the first question with a known answer shows; else the most telling answer."""
    found = Found(spoken=Spoken.CLOSED)
    for question in questions:
        answer = _exchange(line.host, port, question)
        found = _better(classify(answer), found)
        if found.spoken in KNOWN:
            wants_tls = found.spoken is Spoken.HTTP and _wants_tls(line, port, answer or b"")
            return Found(spoken=Spoken.TLS) if wants_tls else found
    return found


def _better(new: Found, former: Found) -> Found:
    """The finding that says more: a known protocol, other bytes, silence, a closed connection."""
    order = [Spoken.CLOSED, Spoken.SILENCE, Spoken.OTHER, *KNOWN]
    return new if order.index(new.spoken) > order.index(former.spoken) else former


def _wants_tls(line: Line, port: int, answer: bytes) -> bool:
    """Whether a server that answered plain HTTP with a refusal speaks TLS as well."""
    status = _HTTP_ANSWER.match(answer)
    if line.tls or status is None or int(status[1]) not in _WANTS_TLS:
        return False
    hello = _exchange(line.host, port, client_hello(line))
    return classify(hello).spoken is Spoken.TLS


def _probe_within_tls(line: Line, port: int, questions: Iterable[bytes]) -> Found:
    """The protocol within TLS; an untrusted certificate ends the search."""
    context = _context(line)
    found = Found(spoken=Spoken.CLOSED, tls=True)
    for question in questions:
        try:
            with (
                socket.create_connection((line.host, port), ANSWER_S) as plain,
                context.wrap_socket(plain, server_hostname=line.host) as secured,
            ):
                chosen = secured.selected_alpn_protocol()
                if chosen is not None:
                    spoken = Spoken.HTTP2 if chosen == "h2" else Spoken.HTTP
                    return Found(spoken=spoken, tls=True)
                answer = _ask(secured, question)
        except OSError:
            return found
        found = _better(replace(classify(answer), tls=True), found)
        if found.spoken in KNOWN:
            break
    return found


class AfterHandshake(StrEnum):
    """What a server does when TLS has begun. Since TLS 1.3 it judges a client only then."""

    ANSWERS = "it answers, or is silent"
    REFUSES = "it refuses the certificate of this client, or wants one"
    ENDS = "it ends the connection without a word"


def watch_handshake(line: Line, port: int) -> AfterHandshake:
    """Begin TLS with the certificate that this client shows, if any, and wait for a word.

    Nothing is asked: a server that refuses would reset the connection, and its alert be lost.
    """
    try:
        with (
            socket.create_connection((line.host, port), ANSWER_S) as plain,
            _context(line).wrap_socket(plain, server_hostname=line.host) as secured,
        ):
            secured.settimeout(ALERT_S)
            answer = secured.recv(ANSWER_BYTES)
    except ssl.SSLError as error:
        is_refused = is_client_refused(str(error))
        return AfterHandshake.REFUSES if is_refused else AfterHandshake.ANSWERS
    except OSError:
        return AfterHandshake.ANSWERS
    return AfterHandshake.ANSWERS if answer else AfterHandshake.ENDS


def _context(line: Line) -> ssl.SSLContext:
    context = trusting_context(line.ca_file, line.client)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _http_question(line: Line) -> bytes:
    return _HTTP_QUESTION % line.host.encode("ascii", "replace")


def _exchange(host: str, port: int, question: bytes) -> bytes | None:
    """The first bytes of the answer; empty if the connection ends first, None for silence."""
    try:
        with socket.create_connection((host, port), ANSWER_S) as connection:
            return _ask(connection, question)
    except OSError:
        return b""


def _ask(connection: socket.socket, question: bytes) -> bytes | None:
    connection.settimeout(ANSWER_S)
    with suppress(OSError):
        connection.sendall(question)
    answer = b""
    try:
        while len(answer) < ENOUGH_BYTES and (more := connection.recv(ANSWER_BYTES)):
            answer += more
    except TimeoutError:
        return answer or None
    except OSError:
        pass
    return answer


def client_hello(line: Line) -> bytes:
    """The first message of a TLS handshake, which is never finished."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=line.host)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def classify(answer: bytes | None) -> Found:
    """What the first bytes of an answer show; None stands for silence."""
    if not answer:
        return Found(spoken=Spoken.SILENCE if answer is None else Spoken.CLOSED)
    if answer.startswith(_HTTP_START) or _HTTP_START.startswith(answer):
        return Found(spoken=Spoken.HTTP)
    if len(answer) > 1 and answer[0] in _TLS_RECORDS and answer[1] == _TLS_1:
        return Found(spoken=Spoken.TLS)
    head = answer[:_FRAME_HEAD_BYTES]
    if len(head) == _FRAME_HEAD_BYTES and head[3] in _HTTP2_FIRST and not any(head[5:]):
        return Found(spoken=Spoken.HTTP2)
    first = answer.strip().partition(b"\n")[0].strip()
    words = printable(first.decode("ascii", "replace"), characters_max=WORDS_CHARACTERS_MAX)
    return Found(spoken=Spoken.OTHER, words=words)
