"""Contract tests and fakes for those who implement a seam."""
