"""CION: raw videos to person re-identification backbones."""
