"""The audit from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import encash.audit as proofs
import encash.backtest as engine
from encash import pipeline
from encash.api.clusters import Clusters, Walk
from encash.api.heads import FittedHead
from encash.api.inputs import (
    CacheLike,
    GroupsLike,
    ModelLike,
    PanelLike,
    PricesLike,
    Progresses,
    ScoresLike,
    at_least,
    folder_of,
    groups_of,
    open_choice,
    price_columns,
    sources_of,
    spec_of,
    split_settings,
    universe_of,
)
from encash.api.signatures import with_settings
from encash.api.tables import Table, Tabular
from encash.arguments import typed
from encash.clusters import CandidateFilter
from encash.display import Shown
from encash.errors import InputError
from encash.live_progress import progress_bars
from encash.panel import Bars, ScoreTable


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AuditReport(Shown, Tabular):
    """Result of an audit: the checks that passed, failed or were not tried."""

    audit: proofs.Audit

    @property
    def passed(self) -> bool:
        """True if no check failed; look at `untried` too."""
        return self.audit.passed

    @property
    def untried(self) -> tuple[str, ...]:
        """Names of the checks that could not be made."""
        return tuple(check.name for check in self.audit.checks if check.status == "not_tried")

    @property
    def checks(self) -> Table:
        """One row per check: name, status, detail."""
        checks = self.audit.checks
        return Table(
            {
                "name": np.array([one.name for one in checks]),
                "status": np.array([one.status for one in checks]),
                "detail": np.array([one.detail for one in checks]),
            }
        )

    @property
    def table(self) -> Table:
        """The checks."""
        return self.checks

    def title(self) -> str:
        """Return one sentence."""
        outcome = "passed" if self.passed else "FAILED: a result depends on the future"
        return f"{outcome}, {len(self.untried)} of {len(self.audit.checks)} checks not tried"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return each check that failed or was not tried."""
        shown = [one for one in self.audit.checks if one.status in ("failed", "not_tried")]
        return [(one.status.replace("_", " "), f"{one.name}: {one.detail}") for one in shown]


@with_settings(engine.BacktestConfig, pipeline.FilterChoice, pipeline.Sources)
@typed
def audit(
    *,
    prices: PricesLike | None = None,
    panel: PanelLike | None = None,
    model: ModelLike | None = None,
    cache: CacheLike | None = None,
    clusters: Clusters | Walk | str | Path | None = None,
    filter: CandidateFilter | str | None = None,
    head: FittedHead | str | Path | None = None,
    scores: ScoresLike | None = None,
    groups: GroupsLike | None = None,
    tickers: Iterable[str] | None = None,
    membership: str | Path | None = None,
    features_by: Callable[..., Any] | str | None = None,
    bars: Mapping[str, Bars] | None = None,
    adjusted: bool = False,
    days: int = 5,
    sample: int = 256,
    progress: Progresses = progress_bars,
    **settings: Any,
) -> AuditReport:
    """Test that results do not depend on the future: truncate it, corrupt it, and look for correlations with it.

    Args:
        prices: prices; those of the panel if None.
        panel: features.
        model: encodes entries again; without it, only scores are tested.
        cache: the cache with the entries that are tested.
        clusters: clusters with a ranking, or a walk.
        filter: as `encash.backtest` takes it.
        head: a head whose forecasts replace those of the encoder.
        scores: a table of scores that replace them.
        groups: a CSV file of ``ticker,group``, or what `encash.backtest.read_groups` made of it.
        tickers: candidates; all if None.
        membership: a file of the days on which each ticker may be bought, in place of `tickers`.
        features_by: the function that computed the features, or ``module:function``.
        bars: prices behind the features; None for the closes of the prices.
        adjusted: they are known to be adjusted for splits or dividends that came later.
        days: random days after which the future is cut off.
        sample: entries that are encoded again.
        progress: returns a progress bar of a title and a unit; by default one in a terminal or a notebook.
        settings: as `encash.backtest` takes them.

    Raises:
        InputError: neither scores, nor a model with a panel and prices; or an unknown setting.

    Example::

        data = {"prices": "prices.h5", "panel": "features.h5", "model": "model.pt", "cache": "cache.lance"}
        found = encash.audit(**data, start="2020-05-13", days=1)
        found.passed, found.checks
    """
    at_least("days", days, 1), at_least("sample", sample, 1)
    if bars is not None and not bars:
        raise InputError("bars is empty; expected the bars of each ticker, or None for the closes of the prices")
    options, choice = split_settings(settings)
    config = spec_of(engine.BacktestConfig, settings, "a setting of a backtest")
    columns = price_columns([config])
    sources = sources_of(
        prices=prices, panel=panel, cache=cache, head=head, scores=scores, model=model, price_columns=columns, **options
    )
    if scores is not None and model is None:
        table = sources.forecasts(None)
        assert isinstance(table, ScoreTable)
        return AuditReport(audit=proofs.Audit(checks=tuple(proofs.score_checks(table, sources.price_table()))))
    if panel is None or model is None:
        raise InputError("an audit encodes entries again; give a model and a panel, or scores to audit only those")
    opened, known = sources.the_panel(), sources.open_cache()
    prices = opened.price_table
    encoder = sources.encoder(known)
    if known is not None:
        known.check(encoder.spec)
    universe = universe_of(tickers, membership)
    if isinstance(universe, tuple):
        prices.select(universe)  # refuses one without prices
    subject = proofs.Subject(
        panel=opened,
        encoder=encoder,
        config=config,
        filter=open_choice(filter, clusters, choice, config, prices.days, known),
        universe=engine.read_membership(universe) if isinstance(universe, str | Path) else universe,
        groups=groups_of(groups),
        cache=known,
        forecasts=sources.forecasts(known, opened),
        clusters=folder_of("clusters", clusters),
        days=days,
        sample=sample,
        bars=bars,
        adjusted=adjusted,
        make_features=proofs.named_maker(features_by) if isinstance(features_by, str) else features_by,
        seed=config.seed,
    )
    with progress("from data to picks", "runs") as bar:
        return AuditReport(audit=proofs.audit(subject, progress=bar))
