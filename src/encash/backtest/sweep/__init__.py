"""Many runs on one reading of the signals."""
