"""Draw the charts of docs/explanation/annotated-report.md: ``python tools/draw_annotated_report.py [CHART …]``.

Three worlds with the same model, filter and backtest, which differ in what the features know: a signal that predicts
returns a little (good), nothing (null), and the returns that follow, through a centered average (cheating).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import encash
from encash.encoders import Encoded, Encoder, EncoderSpec
from encash.panel import ArraySource, Panel, PriceTable

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "images" / "annotated"
WORLDS = ("good", "null", "cheating")
CHARTS = (
    "equity", "random_filters", "rank_ics", "quintile_returns", "reliability", "mean_returns", "start_days",
)  # fmt: skip
TICKERS, SESSIONS, LOOKBACK, FEATURES = 60, 1500, 5, 4
SKILL = 0.0008
"""Daily return for a signal of one standard deviation: 20% a year."""
AVERAGED = 5
"""Sessions before and after the day in the average of the cheating world."""


class LastDay(Encoder):
    """An encoder that returns the features of the last day of a window."""

    batch_size = 4096

    def __init__(self) -> None:
        self.spec = EncoderSpec(
            architecture="last day", weights="none", lookback=LOOKBACK, num_features=FEATURES, dim=FEATURES, horizons=()
        )

    def encode(self, windows: np.ndarray) -> Encoded:
        """Encode windows of shape (n, lookback, features)."""
        nothing = np.empty((len(windows), 0), np.float32)
        return Encoded(embedding=windows[:, -1], forecast=nothing, confidence=nothing)


def make_panel(world: str, *, tickers: int = TICKERS, sessions: int = SESSIONS, seed: int = 7) -> Panel:
    """Return a panel of a world: random walks with a common factor, and features that are noisy views of two signals.

    In the good world, returns rise with the first signal, which a linear head finds, and with the size of the second,
    which only clusters find.
    """
    random = np.random.default_rng(seed)
    shape = sessions, tickers
    line, curve = _persistent(random, shape), _persistent(random, shape)
    step = 0.0003 + 0.009 * random.normal(size=(sessions, 1)) + 0.018 * random.normal(size=shape)
    if world == "good":
        step[1:] += SKILL * (0.6 * line + 0.8 * (curve**2 - 1) / np.sqrt(2))[:-1]
    if world == "cheating":
        line = _centered(step)
    seen = np.stack([line, line, curve, curve], axis=-1) + 0.5 * random.normal(size=(*shape, FEATURES))
    names = tuple(f"T{number:02d}" for number in range(tickers))
    days = np.busday_offset(np.datetime64("2018-01-01"), np.arange(sessions), roll="forward")
    source = ArraySource({name: (days, seen[:, n].astype(np.float32)) for n, name in enumerate(names)})
    close = 50 * np.exp(np.cumsum(step, axis=0))
    return Panel(source, PriceTable(days=days, tickers=names, close=close))


def run_world(world: str, folder: Path, *, draws: int = 200, **sizes: int) -> encash.Run:
    """Run the whole workflow in a world: cache, head and clusters on the first half, backtest on the second."""
    panel = make_panel(world, **sizes)
    prices = panel.prices
    assert prices is not None
    cache = encash.open_cache(folder / f"{world}.lance")
    cache.build(panel, LastDay())
    days = panel.sessions
    end, start = days[len(days) // 2], days[len(days) // 2 + 25]
    head = encash.fit_head(cache, prices, end=end, horizons=[1, 5, 10, 20], out=folder / f"{world}-head")
    clusters = encash.fit_clusters(cache, end=end, k=10, seed=0, out=folder / f"{world}-clusters")
    clusters = encash.rank_clusters(clusters, cache, prices, end=end, horizon=5, top=3)
    run = encash.backtest(
        panel=panel, prices=prices, cache=cache, head=head, clusters=clusters, start=start, horizon=5, top_k=10,
        run_dir=folder / world,
    )  # fmt: skip
    encash.compare(run, draws=draws)
    return run


def draw(run: encash.Run, chart: str, file: Path) -> None:
    """Write a chart as a small picture."""
    figure = getattr(run.plot, chart)()
    figure.savefig(file, dpi=72, facecolor="white", bbox_inches="tight", metadata={"Software": None})


def main(charts: list[str]) -> int:
    """Draw all charts, or those that are named, in each world; print the figures that the page quotes."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for world in WORLDS:
            run = run_world(world, Path(folder))
            print(world, run, run.returns, sep="\n")
            for chart in charts or CHARTS:
                draw(run, chart, PICTURES / f"{chart}-{world}.png")
    return 0


def _persistent(random: np.random.Generator, shape: tuple[int, int], persistence: float = 0.97) -> np.ndarray:
    """Return autoregressions of deviation 1, shape (T, N)."""
    values = random.normal(size=shape)
    for session in range(1, len(values)):
        values[session] = persistence * values[session - 1] + np.sqrt(1 - persistence**2) * values[session]
    return values


def _centered(step: np.ndarray) -> np.ndarray:
    """Return the average of the returns around each day, of deviation 1: half of it is the future of that day."""
    padded = np.pad(step - step.mean(axis=1, keepdims=True), ((AVERAGED, AVERAGED), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * AVERAGED + 1, axis=0)
    means = windows.mean(axis=-1)
    scaled: np.ndarray = means / means.std()
    return scaled


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
