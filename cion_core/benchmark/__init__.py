"""Labelled sets for fine-tuning and evaluation."""
