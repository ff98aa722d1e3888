"""From videos to tracklets."""
