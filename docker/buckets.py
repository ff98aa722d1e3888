"""Makes the buckets that are named, where they are not yet there: `python docker/buckets.py mlflow
dvc`.

The store and its keys come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import sys

import boto3


def make(names: list[str]) -> None:
    """Make each bucket that does not exist."""
    client = boto3.client("s3")
    known = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in known:
            client.create_bucket(Bucket=name)
        print(f"bucket {name}: {'was there' if name in known else 'made'}")


if __name__ == "__main__":
    make(sys.argv[1:])
