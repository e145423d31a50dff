"""Candidate filters: which candidates of a day go on to the picks. `registry` lists them; one file per filter."""
