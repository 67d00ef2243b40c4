"""Reproduces Inverse Problems Leveraging Pre-trained Contrastive Representations (NeurIPS 2021)."""

__version__ = "0.1.0"
