"""What a run is made of: configuration, universe, signals, checks against look-ahead."""
