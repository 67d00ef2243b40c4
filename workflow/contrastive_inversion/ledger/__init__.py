"""What was printed, what was measured, how the two compare; never torch."""
