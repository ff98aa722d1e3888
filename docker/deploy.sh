#!/bin/sh
# Tells the Prefect server at $PREFECT_API_URL of the work pools and of all that prefect.yaml deploys. May run again.
set -eu
for pool in cpu gpu; do
    prefect work-pool inspect "$pool" >/dev/null 2>&1 || prefect work-pool create "$pool" --type process
done
prefect --no-prompt deploy --all
