"""The pipeline as a Prefect flow: retries, schedules, a page to watch.

The only package that imports prefect.
"""

import os

# Read by prefect when it is first imported. The server that a run without one starts is slow on two
# cores.
for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}.items():
    os.environ.setdefault(_name, _value)
