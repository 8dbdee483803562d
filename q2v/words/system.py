"""What the texts of the operating system and of libraries mean in a message of q2v."""

import errno
import os
import re
import signal

from migrate.storage.durable import REMEDIES
from q2v.words.entry import Word

_AGAIN = "q2v has tried several times; run the same command again when that is mended"
_ADDRESS = (
    "check host and port: source.url, or target.api_base_url; and that the service runs and a "
    f"firewall lets this machine through; `q2v check` asks both; {_AGAIN}"
)
_LINE = f"check the line between this machine and the service, and proxies on it; {_AGAIN}"
_NAME = f"check the name of the host in source.url, and the name server of this machine; {_AGAIN}"
_OF_CODES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of this user on the disk is used up",
    errno.EROFS: "the file system can only be read",
    errno.EACCES: "this user may not read or write that file or folder",
    errno.ELOOP: "a link stands where a file of q2v is expected; q2v never writes through links",
    errno.ENOLCK: "the file system has no locks, and q2v needs one for its folder",
    errno.EIO: "the disk has failed to read or write",
    errno.ENOENT: "no file or folder has that name",
    errno.EMFILE: "this process has as many files and connections open as it may",
    errno.ECONNREFUSED: "nothing listens at that address",
    errno.ECONNRESET: "the other side, or something between, has ended the connection",
    errno.EPIPE: "the other side has ended the connection while it was written to",
    errno.ETIMEDOUT: "no answer came in time",
    errno.ENETUNREACH: "this machine has no way to the network of that address",
    errno.EHOSTUNREACH: "this machine has no way to that host",
    errno.EADDRINUSE: "another program listens at that port",
}
_ADVICE = {
    **REMEDIES,
    errno.EIO: "check the disk and the log of the system; `q2v verify` checks what was written",
    errno.ENOENT: "correct the path that the message names; a path counts from the current folder",
    errno.EMFILE: "raise the limit (ulimit -n), or lower limits.reads_in_flight",
    errno.ECONNREFUSED: _ADDRESS,
    errno.ECONNRESET: _LINE,
    errno.EPIPE: _LINE,
    errno.ETIMEDOUT: _ADDRESS,
    errno.ENETUNREACH: _ADDRESS,
    errno.EHOSTUNREACH: _ADDRESS,
    errno.EADDRINUSE: "end that program, or name another port",
}
_DISTRUST = (
    "set tls.ca_file to the PEM file of the authority that has signed the certificate; where a "
    "proxy opens connections, it is that of the proxy"
)
_OF_LIBRARIES = {
    "Name or service not known": ("no address is known for the name of that host", _NAME),
    "nodename nor servname provided": ("no address is known for the name of that host", _NAME),
    "Temporary failure in name resolution": ("the name server gives no answer", _NAME),
    "failed to connect to all addresses": ("nothing answers gRPC at that address", _ADDRESS),
    "certificate verify failed": ("the certificate of the server is not trusted", _DISTRUST),
    "timed out": ("no answer came in time", _ADDRESS),
}
_KEPT = "what was written is safe, and a step of a move resumes"
_BY_SIGNAL = 128  # and the number of the signal: the exit code that a shell gives the process
_BUG = f"report it with what `q2v --version` says; the same command can be run again: {_KEPT}"
_OF_SIGNALS = {
    signal.SIGBUS: (
        "a file that is read or written through memory could not be: most often the disk is full",
        f"{REMEDIES[errno.ENOSPC]}; {_KEPT}",
    ),
    signal.SIGKILL: (
        "the process was ended from outside, without a word: most often by the system, because "
        "memory ran out",
        "look into the log of the system (`dmesg`), or at the memory limit of the container or "
        f"job; give it more memory, then run the same command again: {_KEPT}",
    ),
    signal.SIGSEGV: ("a library has read memory that is not its own", _BUG),
    signal.SIGABRT: ("a library has given up", _BUG),
}
_NUMBERED = re.compile(r"\b(?:errno|os error) (\d+)\b")


def system_texts() -> list[Word]:
    """Every text that q2v knows."""
    texts = {os.strerror(code): (means, _ADVICE[code]) for code, means in _OF_CODES.items()}
    return [
        Word(name=text, kind="text of the operating system", means=means, advice=advice)
        for text, (means, advice) in {**texts, **_OF_LIBRARIES}.items()
    ]


def system_texts_in(plain: str) -> list[Word]:
    """Those that stand in a text in lower case, with underscores in place of hyphens.

    A code of the system, by name or number, is one of its text.
    """
    spelt = plain.replace("certificate_verify_failed", "certificate verify failed")
    words = set(re.findall(r"\w+", plain))
    numbers = {int(number) for number in _NUMBERED.findall(plain)}
    named = {
        os.strerror(code)
        for code in _OF_CODES
        if code in numbers or errno.errorcode[code].lower() in words
    }
    found = [
        word
        for word in system_texts()
        if word.name in named or word.name.lower().replace("-", "_") in spelt
    ]
    # "timed out" is a piece of "Connection timed out".
    return [
        word
        for word in found
        if not any(word.name in longer.name for longer in found if longer is not word)
    ]


def ends_by_signal(plain: str) -> list[Word]:
    """What a shell says of a process that a signal has ended: its exit code, or a text."""
    return [
        Word(
            name=f"{code} ({text})",
            kind=f"end of a process by {number.name}",
            means=means,
            advice=advice,
        )
        for number, (means, advice) in _OF_SIGNALS.items()
        for code, text in [(_BY_SIGNAL + number, signal.strsignal(number) or number.name)]
        if plain == str(code)
        or re.search(rf"^(?:\S+: )?{text}\b|\b\d+ {text}\b|\b{number.name}\b", plain, re.IGNORECASE)
    ]
