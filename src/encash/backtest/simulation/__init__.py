"""From weights and prices to trades and equity."""
