"""All groups of checks, and the audit that runs them.

To add a group, write a function that yields its checks, none if it does not apply, and add it to `PROOFS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from encash.audit.clusters import cluster_checks
from encash.audit.correlations import correlation_checks, forecast_checks
from encash.audit.entries import hit_is_miss, staleness_check, vintage_check
from encash.audit.features import feature_checks
from encash.audit.figures import figure_check
from encash.audit.picks import chain_checks
from encash.audit.subject import Audit, Check, Subject
from encash.audit.universe import survivor_check
from encash.progress import Progress

PROOFS: tuple[Callable[[Subject, Progress | None], Iterable[Check]], ...] = (
    correlation_checks,
    forecast_checks,
    feature_checks,
    chain_checks,
    cluster_checks,
    hit_is_miss,
    staleness_check,
    vintage_check,
    survivor_check,
    figure_check,
)
"""All groups of checks, in the order of the report."""


def audit(subject: Subject, *, progress: Progress | None = None) -> Audit:
    """Run all checks; each compares bit for bit unless its detail says otherwise.

    The chain from data to picks is run three times for each random day t: on all data, on the data as of t, and with
    noise in place of all data after t. Progress counts these runs.
    """
    return Audit(checks=tuple(check for proof in PROOFS for check in proof(subject, progress)))
