"""Training of the reference transformer, split by date."""
