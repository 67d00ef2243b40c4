"""Stands in for the package of this name, which adversarial-library imports to draw curves that nobody asks for."""
