"""Exact nearest neighbours, k-reciprocal neighbourhoods, and sums over groups of rows: arrays in,
arrays out.
"""
