"""The commands of the guide, flags and one call each: ``python -m encash.guide COMMAND``, or the guide's own names."""
