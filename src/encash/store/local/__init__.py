"""Local files: locks, fsync, checksums, memory maps."""
