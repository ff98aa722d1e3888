"""Pre-training: crops and their identities in, a model folder for each method and backbone out.

Some methods use no identities; some train nothing, and bring the weights of others.
"""
