"""Legacy commands: a flag table and a call each, no logic."""
