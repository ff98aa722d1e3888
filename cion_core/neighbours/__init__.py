"""Exact nearest neighbours, k-reciprocal neighbourhoods, sums over groups: arrays in, arrays out.

`search` finds the nearest rows of some rows, with forbidden pairs, on a processor or a GPU: linking
uses it, and so does whoever adds rows to what was searched. `all_pairs` finds those of all rows
among themselves in half the time, on a processor: re-ranking uses it, and nobody else.
"""
