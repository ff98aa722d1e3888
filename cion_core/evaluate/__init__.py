"""Retrieval metrics and their protocol."""
