"""Which cluster of Ray's a stage joins: the one that RAY_ADDRESS names, or else this machine's."""

from __future__ import annotations

import os
import re
import socket

from cion_core.errors import CionError

# Ray itself asks for a quarter of an hour where nobody answers.
PATIENCE_SECONDS = 10.0
ADDRESS = re.compile(r"\[?(?P<host>[^\s/\[\]]+)\]?:(?P<port>\d{1,5})")
# What Ray finds, or begins, on this machine.
OWN = ("", "auto", "local")
START = (
    "start one with `ray start --head`, and on each other machine `ray start --address HEAD:6379` "
    "(docs/scale.md)"
)
VALID = (
    "valid is HOST:PORT of the machine where `ray start --head` runs, such as 10.0.0.5:6379; "
    "without RAY_ADDRESS this machine's cluster is joined (docs/scale.md)"
)


def check_address() -> None:
    """Raise CionError where RAY_ADDRESS is no address, or nobody answers there."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address in OWN:
        return
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise CionError(f"runtime.engine: ray: RAY_ADDRESS={address} is no address; {VALID}")
    try:
        socket.create_connection((found["host"], int(found["port"])), PATIENCE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise CionError(
            f"runtime.engine: ray: nobody answers at RAY_ADDRESS={address} ({error}); {VALID}"
        ) from error


def no_cluster() -> CionError:
    """What is wrong where Ray finds no cluster, though `check_address` had no complaint."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address in OWN:
        return CionError(f"runtime.engine: ray: no cluster of Ray's on this machine; {START}")
    return CionError(
        f"runtime.engine: ray: what answers at RAY_ADDRESS={address} is no cluster of Ray's; "
        f"{VALID}"
    )
