"""Runs on a real MLflow server: what arrives, and what survives when it does not."""

from __future__ import annotations
