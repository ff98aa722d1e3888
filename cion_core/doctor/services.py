"""Checks of the servers that runs and flows report to."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

from cion_core.doctor.findings import Finding, first_line, version

ANSWER_SECONDS = 2.0  # that a server has


def mlflow(about: str) -> Finding:
    """Where runs are recorded, and whether a server answers there."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address.startswith(("http://", "https://")):
        place = address or "mlflow.db of this folder"
        return Finding(about, f"{version('mlflow')}, records into {place}")
    wrong = _unreachable(f"{address.rstrip('/')}/health")
    text = f"{version('mlflow')}, records at {_without_password(address)}: {wrong or 'answers'}"
    remedy = None
    if wrong:
        remedy = (
            "start the server, or correct MLFLOW_TRACKING_URI; runs are kept meanwhile, for `cion "
            "track sync`"
        )
    return Finding(about, text, remedy)


def prefect(about: str) -> Finding:
    """Which server flows report to."""
    address = os.environ.get("PREFECT_API_URL", "")
    if not address:
        text = f"{version('prefect')}, no PREFECT_API_URL: each flow starts a server of its own"
        return Finding(about, text)
    wrong = _unreachable(f"{address.rstrip('/')}/health")
    text = f"{version('prefect')}, reports to {_without_password(address)}: {wrong or 'answers'}"
    remedy = None
    if wrong:
        remedy = "start it (`make prefect`), or correct or unset PREFECT_API_URL"
    return Finding(about, text, remedy)


def _unreachable(address: str) -> str | None:
    """Why a server does not answer; None where it does. One that asks for a password is there."""
    try:
        urllib.request.urlopen(address, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        return None if error.code in (401, 403) else f"answers with error {error.code}"
    except (OSError, ValueError) as error:
        return f"no answer ({first_line(getattr(error, 'reason', error))})"
    return None


def _without_password(address: str) -> str:
    """An address as it may be shown."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
