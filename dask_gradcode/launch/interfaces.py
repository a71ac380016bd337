"""Which network interface Dask listens on, and where exactly."""

from __future__ import annotations

import socket

import psutil

__all__ = ["any_port", "loopback", "outward_interface"]


def loopback() -> str:
    """Return the name of the interface that only this host reaches.

    Examples
    --------
    >>> loopback() in {"lo", "lo0"}
    True
    """
    for name, addresses in psutil.net_if_addrs().items():
        if any(a.family == socket.AF_INET and a.address.startswith("127.") for a in addresses):
            return str(name)
    raise RuntimeError("This host has no loopback interface with an IPv4 address. Use --interface.")


def outward_interface() -> str:
    """Return the name of the interface by which this host reaches others."""
    from distributed.utils import get_ip

    ip = get_ip()
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == ip for address in addresses):
            return str(name)
    raise RuntimeError(f"No interface of this host has its address {ip}. Use --interface.")


def any_port(interface: str) -> str:
    """Return the address of whichever port is free on an interface.

    Dask's scheduler opens a port for HTTP in any case. Left to itself it wants 8787 and warns where
    another cluster has that; told a port alone it listens on all interfaces.

    Raises
    ------
    ValueError
        If there is no such interface.

    Examples
    --------
    >>> any_port(loopback())
    '127.0.0.1:0'
    """
    from distributed.utils import get_ip_interface

    return f"{get_ip_interface(interface)}:0"
