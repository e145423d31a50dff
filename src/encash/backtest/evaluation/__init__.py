"""Whether a result is skill or luck: comparisons, tests, replicates."""
