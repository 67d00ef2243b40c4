"""Regenerates the tables and figures of published papers, and says which of their results hold."""

__version__ = "0.1.0"
