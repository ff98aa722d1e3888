"""Exact nearest neighbours, k-reciprocal neighbourhoods, sums over groups: arrays in, arrays out.

`search` finds the nearest rows of some rows, with forbidden pairs, on a processor or a GPU: for
linking, clustering, and re-ranking on a GPU. Its `widen` brings such lists up to date where rows
were added. `all_pairs` finds those of all rows among themselves in half the time, on a processor:
for re-ranking alone.

`k_reciprocal` encodes neighbourhoods, `overlap` compares two of them, and `similarity` mixes
several sizes. `arrays` has sums over groups, and `rows` reads features as they are needed.
"""
