"""Backbones by name; weights in and out."""
