"""From files as publishers ship them to batches of pixels."""
