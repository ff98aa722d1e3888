"""Features of every crop."""
