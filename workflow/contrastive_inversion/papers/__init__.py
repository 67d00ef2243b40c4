"""One folder per paper; nothing outside knows their names."""
