"""Comparison tables, galleries, plots."""
