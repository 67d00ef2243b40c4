"""Networks, losses, the one training loop, linear heads, metrics."""
