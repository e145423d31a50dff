"""The names of the guide: a flag table and a call, no logic."""
