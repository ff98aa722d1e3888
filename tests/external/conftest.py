"""What the external room's tests share."""

from made_up import here  # noqa: F401
