"""Files of this machine: locks, fsync, checksums, memory maps."""
