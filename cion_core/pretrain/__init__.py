"""Self-supervised pre-training: cion and its baselines."""
