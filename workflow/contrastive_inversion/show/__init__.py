"""From estimates to what people read; never torch."""
