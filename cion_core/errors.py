"""The one error that a user is meant to read."""


class CionError(Exception):
    """Something the user can put right: the message names the file, key or row, and what would be valid."""
