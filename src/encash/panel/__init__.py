"""The panel: features and prices, read-only, knowing only the past of each day."""
