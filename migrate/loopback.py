"""Which hosts are this machine: only to them may data go without TLS."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether traffic to the host stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
