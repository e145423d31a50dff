"""Ridge regression on windows: the linear forecast that a model starts from, and the baseline that it must beat.

A window is summarized by the mean of each feature over a few segments. The segments, the penalty and the scale of the
forecast are chosen by cross-validation over blocks of sessions, for each horizon separately.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Float32, Float64, Int64
from encash.metrics import right_signs
from encash.panel import FeatureRows
from encash.training.calibration import NORMAL_SLOPE, Evidence, fit_platt, measure_slope, shrunk_slope
from encash.training.samples import Split
from encash.training.standardize import Standardizer, fit_standardizer

FOLDS = 5
"""Blocks of consecutive sessions; each is forecast by the regression on the others."""
FEWEST_EARLIER = 2
"""Minimum number of earlier blocks for a regression that forecasts the next one."""
PENALTIES = tuple(10.0**power for power in np.arange(-2.5, 2.0, 0.5).tolist())
"""Candidates for the ridge penalty, if every summary has a variance of 1."""
LAG_PENALTY = 0.1
"""Ridge penalty of `lag_coefficients`, where every feature has a variance of 1."""
MOST_SEGMENTS = 8
MOST_COLUMNS = 1024
"""Candidates with more summaries than this, and more than features, are left out."""
MOST_PRODUCTS = 1e11
"""Products of two summaries over all windows; a regression takes fewer windows if there are more."""
CHUNK_VALUES = 8_000_000
"""Summaries in memory at a time."""
MOST_HELD_OUT = 100_000
"""Windows that are forecast by the fit on the other blocks, and that divide the window into segments."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Regression:
    """n windows to regress on: the row that ends each, its block, and its targets."""

    rows: FeatureRows
    lookback: int
    end_rows: Int64
    """shape (n,)."""
    block: Int64
    """Block of sessions of each window, from 0; −1 for a window between two blocks. Shape (n,)."""
    targets: Float64
    """Finite, with a mean near 0; shape (n, H)."""
    session: Int64
    """Session of each window, shape (n,)."""
    overlap: Float64
    """Number of consecutive targets of a ticker that count as one, because their returns overlap; shape (H,)."""

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.end_rows)

    def thinned(self, most: int) -> Regression:
        """Return at most some number of the windows, evenly spread."""
        if len(self) <= most:
            return self
        return self.take(np.linspace(0, len(self) - 1, most).round().astype(np.int64))

    def take(self, chosen: Int64) -> Regression:
        """Return some of the windows."""
        return replace(
            self,
            end_rows=self.end_rows[chosen],
            block=self.block[chosen],
            targets=self.targets[chosen],
            session=self.session[chosen],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearForecast:
    """A forecast that is linear in the means of the standardized features over segments of the window."""

    standardizer: Standardizer
    bounds: Int64
    """First positions of the K segments and the end of the last, from 0 (the oldest session); shape (K + 1,)."""
    coefficients: Float64
    """Of the mean of a feature over a segment, shape (K, F, H)."""
    intercept: Float64
    """shape (H,)."""

    def predict(self, rows: FeatureRows, end_rows: Int64) -> Float64:
        """Return the forecasts of the windows that end at some rows, shape (n, H)."""
        flat = self.coefficients.reshape(-1, self.coefficients.shape[2])
        result = np.empty((len(end_rows), flat.shape[1]))
        for chosen, found in _summaries(rows, end_rows, self.bounds, self.standardizer):
            result[chosen] = found @ flat + self.intercept
        return result


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearFit:
    """A fitted linear forecast, and its forecasts of windows that did not take part in their own fit."""

    forecast: LinearForecast
    held_out: Float64
    """Forecasts of some windows by the fit on the other blocks, shape (m, H)."""
    held_out_targets: Float64
    """shape (m, H)."""
    walked: Evidence
    """Walk-forward forecasts: each block by a fit on earlier blocks, which chose its own candidates."""
    summary: tuple[str, ...]
    """The summaries with the most weight, for each horizon."""

    def platt(self, overlap: Float64) -> Float64:
        """Return intercept and slope, on the absolute forecast, of the log odds that its sign is right; (H, 2)."""
        found = []
        for at, times in enumerate(overlap):
            forecast, target = self.held_out[:, at], self.held_out_targets[:, at]
            right, weight = right_signs(forecast, target), 1.0 / float(times)
            found.append(fit_platt(np.abs(forecast), right, weight, (0.0, NORMAL_SLOPE), (0.1, 1.0)))
        return np.stack(found)


def regression(split: Split, horizons: Sequence[int]) -> tuple[Regression, Standardizer]:
    """Return the training windows to regress on, in blocks of sessions with a gap of the longest horizon between them.

    Args:
        split: the parts of the panel.
        horizons: sessions ahead of the targets.
    """
    samples = split.train.complete
    sessions, place = np.unique(samples.session, return_inverse=True)
    size = -(-len(sessions) // FOLDS)
    gap = min(max(horizons), size // 3)
    block = np.where(place // size == (place + gap) // size, place // size, -1)
    block[place // size == FOLDS - 1] = FOLDS - 1
    data = Regression(
        rows=split.rows,
        lookback=split.lookback,
        end_rows=samples.end_rows,
        block=block,
        targets=split.targets(samples).astype(np.float64),
        session=samples.session,
        overlap=2.0 * np.array(horizons) - 1.0,
    )
    return data, fit_standardizer(split.rows.values[samples.end_rows])


def fit_linear(data: Regression, standardizer: Standardizer, max_segments: int) -> LinearFit:
    """Fit a linear forecast for each horizon: an average of ridge regressions, by their cross-validated errors.

    The last session is a segment of its own; the others follow from the data, see `segment_bounds`. Candidates are the
    last session, the mean of the window, both, each segment, and the latest segments together. A horizon may also use
    the coefficients of a different horizon, because those of short returns are estimated from more independent ones.
    The forecast has the scale that fits held-out windows, so that the slope of returns on it is about 1.

    Args:
        data: windows and targets.
        standardizer: of the features.
        max_segments: maximum number of segments of the window; fewer if there are many features.
    """
    max_segments = min(max_segments, MOST_SEGMENTS, max(2, 2 * MOST_COLUMNS // data.rows.values.shape[1]))
    bounds = segment_bounds(lag_coefficients(data.thinned(MOST_HELD_OUT), standardizer), max_segments)
    return _fit(data, standardizer, bounds, _kernels(bounds))


def fit_baseline(data: Regression, standardizer: Standardizer) -> LinearFit:
    """Fit the usual ridge regression: on the last session and the mean of the window, each horizon on its own."""
    length = data.lookback
    bounds = np.array([0, length - 1, length] if length > 1 else [0, 1])
    both = [kernel for kernel in _kernels(bounds) if kernel[0] == "last session and mean"] or _kernels(bounds)[:1]
    return _fit(data, standardizer, bounds, both, share_coefficients=False)


def lag_coefficients(data: Regression, standardizer: Standardizer) -> Float64:
    """Estimate how much each position of the window matters, shape (L, F · H).

    These are ridge coefficients of each feature on its own: its moments with the target at all positions, divided by
    its autocovariances. They only serve to divide the window into segments.
    """
    length, (count, horizons), features = data.lookback, data.targets.shape, data.rows.values.shape[1]
    moments = np.zeros((length, features, horizons))
    covariance = np.zeros((length, features))
    targets = (data.targets / np.arange(1, horizons + 1)).astype(np.float32)  # long returns overlap
    for chosen, ends, values in _by_ticker(data.rows, data.end_rows, standardizer):
        latest = values[ends]
        for lag in range(length):
            earlier = values[ends - lag]
            moments[length - 1 - lag] += earlier.T @ targets[chosen]
            covariance[lag] += np.einsum("nf,nf->f", earlier, latest)
    lags = np.abs(np.arange(length)[:, None] - np.arange(length)[None, :])
    matrices = (covariance / count).T[:, lags] + LAG_PENALTY * np.eye(length)
    found: Float64 = np.linalg.solve(matrices, moments.transpose(1, 0, 2) / count)
    return found.transpose(1, 0, 2).reshape(length, -1)


def segment_bounds(moments: Float64, max_segments: int) -> Int64:
    """Split positions into consecutive segments of similar moments; the last position is its own segment.

    The split has the least sum of squares within segments of all splits, found by dynamic programming.

    >>> segment_bounds(np.array([[0.0], [0.0], [5.0], [0.0], [0.0], [9.0]]), 4).tolist()
    [0, 2, 3, 5, 6]
    """
    length = len(moments)
    if length == 1 or max_segments == 1:
        return np.array([0, length])
    inner = length - 1
    count = min(max_segments - 1, inner)
    product = moments[:inner] @ moments[:inner].T
    corner = np.zeros((length, length))
    corner[1:, 1:] = product.cumsum(axis=0).cumsum(axis=1)
    square = np.concatenate([[0.0], np.diag(product).cumsum()])
    start, stop = np.arange(length)[:, None], np.arange(length)[None, :]
    block = corner[stop, stop] - corner[start, stop] - corner[stop, start] + corner[start, start]
    cost = np.where(stop > start, square[stop] - square[start] - block / np.maximum(stop - start, 1), np.inf)
    best, choice = cost[0], []
    for _ in range(count - 1):
        total = best[:, None] + cost
        choice.append(total.argmin(axis=0))
        best = total.min(axis=0)
    bounds = [length, inner]
    for previous in reversed(choice):
        bounds.append(int(previous[bounds[-1]]))
    return np.array([0, *sorted(bounds)])


Kernel = tuple[str, Float64]
"""A name, and the weight of each segment in each summary of the window, shape (q, K)."""


def _kernels(bounds: Int64) -> list[Kernel]:
    """Return the candidate summaries of a window."""
    sizes = np.diff(bounds)
    count, each = len(sizes), np.eye(len(sizes))
    mean = sizes[None, :] / sizes.sum()
    if count == 1:
        return [("mean", mean)]
    kernels = [
        ("last session", each[-1:]),
        ("mean", mean),
        ("last session and mean", np.concatenate([each[-1:], mean])),
    ]
    kernels += [(f"sessions {bounds[at]} to {bounds[at + 1] - 1}", each[at : at + 1]) for at in range(count - 1)]
    return kernels + [(f"sessions from {bounds[-at - 1]} in {at} parts", each[-at:]) for at in range(2, count + 1)]


def _fit(
    data: Regression,
    standardizer: Standardizer,
    bounds: Int64,
    kernels: list[Kernel],
    *,
    share_coefficients: bool = True,
) -> LinearFit:
    """Average the regressions on some kernels, with weights by their cross-validated errors."""
    segments, features, horizons = len(bounds) - 1, data.rows.values.shape[1], data.targets.shape[1]
    data = data.thinned(max(1, int(MOST_PRODUCTS / (segments * features) ** 2)))
    sums = _Sums.of(data, bounds, standardizer)
    fitting = [one for one in kernels if len(one[1]) == 1 or len(one[1]) * features <= MOST_COLUMNS]
    candidates = _candidates(fitting, sums, features)
    weights = _weights(candidates, data.overlap, share_coefficients=share_coefficients)
    every = _combined(candidates, weights)
    walked = np.full_like(every[:-1], np.nan)
    for block in range(FEWEST_EARLIER, FOLDS):
        earlier = _candidates(fitting, sums.first(block), features)
        own = _weights(earlier, data.overlap, share_coefficients=share_coefficients)
        walked[block] = _combined(earlier, own)[-1]
    some = data.thinned(MOST_HELD_OUT)
    some = some.take(np.flatnonzero(some.block >= 0))
    found = _held_out(some, np.concatenate([every[:-1], walked], axis=2), sums.center, bounds, standardizer)
    held_out, walk = found[:, :horizons], found[:, horizons:]
    factor = _calibrating_factors(held_out, some.targets, some.session, data.overlap)
    coefficients, later = every[-1] * factor, some.block >= FEWEST_EARLIER
    most = weights.sum(axis=(1, 2)).argmax(axis=0)
    return LinearFit(
        forecast=LinearForecast(
            standardizer=standardizer,
            bounds=bounds,
            coefficients=np.asarray(coefficients).reshape(segments, features, horizons),
            intercept=-sums.center @ coefficients,
        ),
        held_out=held_out * factor,
        held_out_targets=some.targets,
        walked=Evidence(forecast=walk[later] * factor, target=some.targets[later], session=some.session[later]),
        summary=tuple(candidates[at].name for at in most),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sums:
    """Sums over the windows of each block."""

    gram: Float64
    """Products of two summaries, shape (folds, p, p)."""
    cross: Float64
    """Products of a summary and a target, shape (folds, p, H)."""
    count: Int64
    """shape (folds,)."""

    center: Float64
    """Mean of each summary, which the products are centered on; shape (p,)."""

    def first(self, blocks: int) -> _Sums:
        """Return the sums of the first blocks."""
        return replace(self, gram=self.gram[:blocks], cross=self.cross[:blocks], count=self.count[:blocks])

    @classmethod
    def of(cls, data: Regression, bounds: Int64, standardizer: Standardizer) -> _Sums:
        """Add up the windows of each block."""
        columns, horizons = (len(bounds) - 1) * data.rows.values.shape[1], data.targets.shape[1]
        gram, cross = np.zeros((FOLDS, columns, columns)), np.zeros((FOLDS, columns, horizons))
        total, target, count = np.zeros((FOLDS, columns)), np.zeros((FOLDS, horizons)), np.zeros(FOLDS, dtype=np.int64)
        for chosen, found in _summaries(data.rows, data.end_rows, bounds, standardizer):
            for fold in range(FOLDS):
                inside = data.block[chosen] == fold
                part, aims = found[inside], data.targets[chosen[inside]]
                gram[fold] += part.T @ part
                cross[fold] += part.T @ aims.astype(np.float32)
                total[fold] += part.sum(axis=0, dtype=np.float64)
                target[fold] += aims.sum(axis=0)
                count[fold] += len(part)
        center = total.sum(axis=0) / max(1, int(count.sum()))
        both = total[:, :, None] * center
        gram += count[:, None, None] * np.outer(center, center) - both - both.transpose(0, 2, 1)
        return cls(gram=gram, cross=cross - center[:, None] * target[:, None, :], count=count, center=center)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Candidate:
    """Regressions on the summaries ``kernel @ x`` under P penalties, each for H horizons."""

    name: str
    kernel: Float64
    """shape (q, p)."""
    paths: Float64
    """Coefficients without each block, and at last with all; shape (folds + 1, P, q, H)."""
    gain: Float64
    """Reduction of the squared error of held-out windows by the coefficients of one horizon (first) as a forecast of
    another (second), at their best scale; shape (P, H, H)."""
    scale: Float64
    """That scale: the slope of the held-out targets on the forecast, from 0 on; shape (P, H, H)."""

    def combined(self, weight: Float64, fold: int) -> Float64:
        """Return the weighted sum of the scaled coefficients, shape (p, H)."""
        mixed = np.einsum("pqs,psh->qh", self.paths[fold], weight * self.scale)
        result: Float64 = self.kernel.T @ mixed
        return result


def _candidates(kernels: list[Kernel], sums: _Sums, features: int) -> list[_Candidate]:
    """Fit the regressions on all features in some summaries of the window."""
    return [_candidate(name, np.kron(kernel, np.eye(features)).astype(np.float64), sums) for name, kernel in kernels]


def _combined(candidates: list[_Candidate], weights: Float64) -> Float64:
    """Return the weighted coefficients without each block, and at last with all; shape (folds + 1, p, H)."""
    pairs = list(zip(candidates, weights, strict=True))
    folds = len(candidates[0].paths)
    return np.stack([np.sum([one.combined(weight, fold) for one, weight in pairs], axis=0) for fold in range(folds)])


def _candidate(name: str, kernel: Float64, sums: _Sums) -> _Candidate:
    """Fit the regressions on the summaries ``kernel @ x``."""
    grams = np.stack([kernel @ gram @ kernel.T for gram in sums.gram])
    crosses = np.stack([kernel @ cross for cross in sums.cross])
    total, cross, count = grams.sum(axis=0), crosses.sum(axis=0), max(1, int(sums.count.sum()))
    unit = 1.0 / np.sqrt(np.maximum(np.diag(total) / count, 1e-12))
    paths = np.stack(
        [
            *(
                _ridge_path(total - grams[fold], cross - crosses[fold], count - int(sums.count[fold]), unit)
                for fold in range(len(grams))
            ),
            _ridge_path(total, cross, count, unit),
        ]
    )
    along = np.einsum("fpqs,fqh->psh", paths[:-1], crosses, optimize=True)
    square = sum(((gram @ path) * path).sum(axis=1) for gram, path in zip(grams, paths[:-1], strict=True))
    scale = np.maximum(along, 0.0) / np.maximum(square, 1e-12)[:, :, None]
    return _Candidate(name=name, kernel=kernel, paths=paths, gain=scale * along, scale=scale)


def _weights(candidates: list[_Candidate], overlap: Float64, *, share_coefficients: bool) -> Float64:
    """Return the weight of each regression in the forecast of each horizon, shape (candidates, P, H, H).

    Weights are posterior probabilities under normal errors: half of the prior is for a forecast of the mean, half for
    all regressions alike. An average changes little if the data do, where a choice can flip.
    """
    gains = np.stack([one.gain for one in candidates]) / overlap
    if not share_coefficients:
        gains = np.where(np.eye(gains.shape[-1], dtype=np.bool_), gains, -np.inf)
    evidence = gains / 2.0 - np.log(np.isfinite(gains[..., 0]).sum())
    highest = np.maximum(evidence.max(axis=(0, 1, 2)), 0.0)
    weights: Float64 = np.exp(evidence - highest)
    weights /= weights.sum(axis=(0, 1, 2)) + np.exp(-highest)
    return weights


def _ridge_path(gram: Float64, cross: Float64, count: int, unit: Float64) -> Float64:
    """Return the coefficients under each penalty, shape (P, q, H); `unit` standardizes the summaries."""
    count = max(1, count)
    values, vectors = np.linalg.eigh(gram * np.outer(unit, unit) / count)
    rotated = vectors.T @ (unit[:, None] * cross / count)
    shrunk = rotated / (np.maximum(values, 0.0) + np.array(PENALTIES)[:, None])[:, :, None]
    result: Float64 = unit[:, None] * (vectors @ shrunk)
    return result


def _calibrating_factors(forecast: Float64, targets: Float64, session: Int64, overlap: Float64) -> Float64:
    """Return the factor for each horizon after which held-out targets have a slope of 1 on the forecast; shape (H,)."""
    slopes = [measure_slope(forecast[:, at], targets[:, at], session, int(lags)) for at, lags in enumerate(overlap - 1)]
    return np.array([shrunk_slope(slope, error) for slope, error in slopes])


def _held_out(
    data: Regression, by_fold: Float64, center: Float64, bounds: Int64, standardizer: Standardizer
) -> Float64:
    """Return the forecasts of windows by the coefficients for their block, (folds, p, K); shape (n, K)."""
    forecasts = np.full((len(data), by_fold.shape[2]), np.nan)
    for chosen, found in _summaries(data.rows, data.end_rows, bounds, standardizer):
        for fold in range(FOLDS):
            inside = data.block[chosen] == fold
            forecasts[chosen[inside]] = (found[inside] - center) @ by_fold[fold]
    return forecasts


def _summaries(
    rows: FeatureRows, end_rows: Int64, bounds: Int64, standardizer: Standardizer
) -> Iterator[tuple[Int64, Float32]]:
    """Yield the mean of each standardized feature over each segment of some windows, a part of the windows at a time.

    Yields:
        numbers of windows (m,), and their summaries, shape (m, K · F).
    """
    sizes, length, features = np.diff(bounds), int(bounds[-1]), rows.values.shape[1]
    numbers: list[Int64] = []
    parts: list[Float32] = []
    for chosen, ends, values in _by_ticker(rows, end_rows, standardizer):
        sums = np.concatenate([np.zeros((1, features)), np.cumsum(values, axis=0, dtype=np.float64)])
        first = ends - length + 1
        means = np.empty((len(ends), len(sizes), features), dtype=np.float32)
        for number, size in enumerate(sizes):
            start = first + bounds[number]
            means[:, number] = (sums[start + size] - sums[start]) / size
        numbers.append(chosen)
        parts.append(means.reshape(len(ends), -1))
        if sum(part.size for part in parts) >= CHUNK_VALUES:
            yield np.concatenate(numbers), np.concatenate(parts)
            numbers, parts = [], []
    if parts:
        yield np.concatenate(numbers), np.concatenate(parts)


def _by_ticker(
    rows: FeatureRows, end_rows: Int64, standardizer: Standardizer
) -> Iterator[tuple[Int64, Int64, Float32]]:
    """Yield, for each ticker: its windows, the numbers of their last rows, and its standardized rows."""
    owner = np.searchsorted(rows.offsets, end_rows, side="right") - 1
    order = np.argsort(owner, kind="stable")
    tickers, first = np.unique(owner[order], return_index=True)
    for ticker, chosen in zip(tickers, np.split(order, first[1:]), strict=True):
        start, stop = rows.offsets[ticker], rows.offsets[ticker + 1]
        stop = min(int(stop), int(end_rows[chosen].max()) + 1)
        yield chosen, end_rows[chosen] - start, standardizer.apply(rows.values[start:stop])
