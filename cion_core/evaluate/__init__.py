"""How well features find people in a benchmark: scores, how sure they are, and what they cost."""
