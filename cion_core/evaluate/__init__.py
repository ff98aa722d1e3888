"""Labelled benchmarks, and how well features find people in them."""
