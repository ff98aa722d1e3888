"""What the evaluate room's tests share."""

from own_parts import own_file  # noqa: F401
