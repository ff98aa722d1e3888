"""Which cluster of Ray's a stage joins: the one that RAY_ADDRESS names, or else this machine's."""

from __future__ import annotations

import os
import re
import socket

from cion_core.errors import CionError

# Ray itself asks an address where nobody is for minutes, and then ends the process.
PATIENCE_SECONDS = 10.0
ADDRESS = re.compile(r"\[?(?P<host>[^\s/\[\]]+)\]?:(?P<port>\d{1,5})")
# What Ray finds, or begins, on this machine.
OWN = ("", "auto", "local")


def check_address() -> None:
    """Raise CionError where RAY_ADDRESS is no address, or nobody answers there."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address in OWN:
        return
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise CionError(f"runtime.engine: ray: RAY_ADDRESS={address} is no address; {_valid()}")
    try:
        socket.create_connection((found["host"], int(found["port"])), PATIENCE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise CionError(
            f"runtime.engine: ray: nobody answers at RAY_ADDRESS={address} ({error}); {_valid()}"
        ) from error


def _valid() -> str:
    return (
        "valid is HOST:PORT of the machine where `ray start --head` runs, such as 10.0.0.5:6379; "
        "without RAY_ADDRESS this machine's cluster is joined (docs/scale.md)"
    )
