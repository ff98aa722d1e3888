"""Videos as they are: found, probed, hashed; the demo world's are rendered first."""
