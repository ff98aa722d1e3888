"""Fine-tuning a model on a benchmark's images, with its labels or with clusters in their place."""
