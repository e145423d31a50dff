"""The report: plain values, charts, one page."""
