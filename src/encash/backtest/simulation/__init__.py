"""Trading simulation on arrays: from target weights and prices to trades, holdings and equity."""
