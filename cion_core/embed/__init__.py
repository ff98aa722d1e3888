"""One feature per crop, by the embedder that a model folder's card names.

That is a backbone of the zoo, an ONNX graph, or stripes, which need no weights.
"""
