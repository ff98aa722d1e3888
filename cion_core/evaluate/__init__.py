"""How well features find people in a benchmark: scores, open-set rates, pairs of cameras, cost.

`certainty` and `queries` are for the report: how sure scores are, and whether two models differ.
"""
