"""Image in, image out: pure functions on tensors, no files."""
