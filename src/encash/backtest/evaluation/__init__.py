"""Evaluation of a run: forecast skill, random filters, comparisons, trials and overfitting."""
