"""What the audit room's tests share."""

from made_up import root  # noqa: F401
