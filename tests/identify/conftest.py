"""What the tests of `cion identify` share."""

from __future__ import annotations

from films import film  # noqa: F401
