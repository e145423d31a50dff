"""Forecast heads: fits on embeddings with the days on which they may be used, in memory and in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Text, day_text, positions, to_day
from encash.clusters.entry_values import StoredValues
from encash.clusters.files import SEAL, check_seal, read_arrays, read_json, write_arrays, write_json
from encash.encoders.base import EncoderSpec
from encash.errors import FormatError, InputError, MismatchError
from encash.fingerprint import fingerprint
from encash.heads.registry import Predictor, predictor_of
from encash.heads.skill import Calibration, HeldOutSkill

REMAKE = "encash head fit --cache … --prices … --end DAY --out …"
_FACTS_FILE = "head.json"
_FACTS = ("kind", "horizons", "encoder", "price_start", "price_end", "prices")


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadPeriod:
    """One fit of a head, with the first day on which it may be used."""

    end: str
    """Last day of its data, YYYY-MM-DD."""
    first_day: np.datetime64
    """The session an embargo after that."""
    predictor: Predictor
    level: Float64
    """Mean return of a ticker over each of H horizons, which is added to the forecasts; shape (H,)."""
    calibration: Calibration
    skill: tuple[HeldOutSkill, ...]
    """On held-out sessions before `end`; one for each horizon."""

    def forecast(self, vectors: Float32) -> tuple[Float32, Float32]:
        """Return expected returns as fractions, and confidences, for vectors (n, d); shape (n, H) each."""
        raw = self.predictor.predict(vectors)
        expected = self.level + self.calibration.slope * raw
        return expected.astype(np.float32), self.calibration.confidence(raw).astype(np.float32)

    def arrays(self) -> dict[str, Any]:
        """Return everything that determines a forecast."""
        own = {"level": self.level, **{name: value for name, value in vars(self.calibration).items()}}
        return {**own, **{f"predictor_{name}": value for name, value in self.predictor.arrays().items()}}


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """Forecasts from embeddings: one fit, or one for each refit of a walk.

    The forecast of an entry is that of the last fit whose first day has come. It replaces the encoder's own
    forecasts in a backtest, so an encoder without any can be traded.
    """

    kind: str
    horizons: tuple[int, ...]
    """H numbers of sessions."""
    encoder: str
    """Fingerprint of the encoder of the embeddings; empty if unknown."""
    periods: tuple[HeadPeriod, ...]
    """In order of their first days."""
    price_start: str
    price_end: str
    prices: str
    """Fingerprint of the prices from `price_start` to `price_end`, which the fits used."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Settings, informational; not a part of the identity."""
    stored: StoredValues | None = None
    """Forecasts of a cache, so that its vectors need not be read; not a part of the identity."""
    source: str = field(default="head", init=False)
    needs_vectors: bool = field(default=True, init=False)
    newest_day: np.datetime64 | None = field(default=None, init=False)
    """None: it forecasts any entry."""
    encoders: tuple[EncoderSpec | None, ...] = field(default=(), init=False)
    """None: only that of the embeddings."""

    @property
    def dim(self) -> int:
        """Length of the embeddings it takes."""
        return self.periods[0].predictor.dim

    @property
    def first_day(self) -> np.datetime64:
        """First day on which it may be used."""
        return self.periods[0].first_day

    @cached_property
    def fingerprint(self) -> str:
        """Identity: kind, horizons, encoder, and arrays and days of each fit (64 hexadecimal digits)."""
        facts = [[one.end, day_text(one.first_day)] for one in self.periods]
        arrays = {str(number): one.arrays() for number, one in enumerate(self.periods)}
        return fingerprint([self.kind, list(self.horizons), self.encoder, facts, arrays])

    def forecast(self, days: Days, tickers: Text, vectors: Float32 | None) -> tuple[Float32, Float32]:
        """Forecast n entries.

        Args:
            days: shape (n,).
            tickers: shape (n,); not needed.
            vectors: embeddings, shape (n, d).

        Returns:
            expected returns as fractions, and the probabilities that their signs are right; shape (n, H) each.

        Raises:
            MismatchError: vectors of a different length.
        """
        if vectors is None or vectors.shape[1:] != (self.dim,):
            given = "none" if vectors is None else vectors.shape[1]
            raise MismatchError(
                f"the head takes embeddings of length {self.dim}, not {given}; fit a head on this cache: {REMAKE}"
            )
        shape = (len(days), len(self.horizons))
        expected, confidence = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        firsts = np.array([one.first_day for one in self.periods[1:]], dtype="datetime64[D]")
        active = np.searchsorted(firsts, days, side="right")
        for number in np.unique(active).tolist():
            rows = active == number
            expected[rows], confidence[rows] = self.periods[number].forecast(vectors[rows])
        return expected, confidence

    def known(self, days: Days, tickers: Text) -> tuple[Bool, Float32, Float32]:
        """Look up the stored forecasts of n entries of the cache.

        Args:
            days: shape (n,).
            tickers: shape (n,).

        Returns:
            which have one, (n,); forecasts and confidences, (n, H), NaN without one.
        """
        shape = (len(days), len(self.horizons))
        if self.stored is None:
            nothing = np.full(shape, np.nan, dtype=np.float32)
            return np.zeros(len(days), dtype=np.bool_), nothing, nothing.copy()
        row, column = positions(self.stored.days, days), positions(self.stored.tickers, tickers)
        there = (row >= 0) & (column >= 0) & self.stored.valid[row, column]
        forecast, confidence = (
            np.where(there[:, None], self.stored.arrays[name][row, column], np.float32(np.nan))
            for name in ("forecast", "confidence")
        )
        return there, forecast, confidence

    def parts(self, days: Days, tickers: Text, horizon: int) -> dict[str, Float32]:
        """Return nothing: a forecast of a head consists of no others."""
        return {}

    def check_encoder(self, encoder: str) -> None:
        """Refuse embeddings of a different encoder; an empty fingerprint on either side is unknown and passes.

        Raises:
            MismatchError: the fingerprints differ.
        """
        if encoder and self.encoder and encoder != self.encoder:
            raise MismatchError(
                f"the head was fitted on embeddings of encoder {self.encoder[:12]}, not of {encoder[:12]}; fit a head "
                f"on this cache: {REMAKE}"
            )

    def describe(self, days: Days, tickers: Sequence[str]) -> dict[str, Any]:
        """Return the kind, the fits that are active on some days, and their rank correlations on held-out sessions."""
        used = [one for one in self.periods if one.first_day <= days[-1]]
        return {
            "kind": self.kind,
            "fits": len(self.periods),
            "first_end": self.periods[0].end,
            "last_end": (used or self.periods)[-1].end,
            "held_out_ic": {str(one.horizon): _number(one.ic) for one in (used or self.periods)[-1].skill},
        }

    def lookahead(self, first_signal: np.datetime64) -> str | None:
        """Return why the head used returns after a day; None if it did not."""
        earliest = self.periods[0]
        if first_signal >= earliest.first_day:
            return None
        return (
            f"the head was fitted on returns up to {earliest.end}, so it may be used from "
            f"{day_text(earliest.first_day)}"
        )

    def save(self, folder: str | Path) -> None:
        """Write an .npz file for each fit (plain arrays), then `head.json` (the rest, readable), each atomically."""
        folder = Path(folder)
        fits = []
        for number, one in enumerate(self.periods):
            write_arrays(folder / f"{number:04d}.npz", one.arrays())
            skill = [asdict(found) for found in one.skill]
            fits.append({"end": one.end, "first_day": day_text(one.first_day), "skill": skill})
        facts = {name: getattr(self, name) for name in _FACTS}
        content = {**facts, "head": self.fingerprint, "fits": fits, "notes": dict(self.notes)}
        write_json(folder / _FACTS_FILE, content, seal=SEAL)
        for left in folder.glob("[0-9][0-9][0-9][0-9].npz"):
            if int(left.stem) >= len(self.periods):
                left.unlink()


def load_head(folder: str | Path) -> Head:
    """Load what `Head.save` wrote.

    Raises:
        MissingFileError: no head in the folder, or a part of it is missing.
        FormatError: a file is damaged or was edited, or the parts do not belong together.
    """
    folder = Path(folder)
    path = folder / _FACTS_FILE
    facts = read_json(path, remake=REMAKE)
    check_seal(path, facts, required=True, remake=REMAKE)
    try:
        periods = tuple(
            _period(facts["kind"], fit, read_arrays(folder / f"{number:04d}.npz", remake=REMAKE))
            for number, fit in enumerate(facts["fits"])
        )
        own = {name: facts[name] for name in _FACTS}
        head = Head(**own | {"horizons": tuple(own["horizons"])}, periods=periods, notes=facts["notes"])
        belongs = head.fingerprint == facts["head"]
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FormatError(f"{path} does not describe a head ({error!r}); fit again: {REMAKE}") from None
    if not belongs:
        raise FormatError(f"the arrays in {folder} are not those of its {_FACTS_FILE}; fit again: {REMAKE}")
    return head


def _period(kind: str, fit: dict[str, Any], arrays: dict[str, Any]) -> HeadPeriod:
    prefix = "predictor_"
    predictor = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    return HeadPeriod(
        end=fit["end"],
        first_day=to_day(fit["first_day"]),
        predictor=predictor_of(kind, predictor),
        level=arrays["level"],
        calibration=Calibration(slope=arrays["slope"], spread=arrays["spread"], platt=arrays["platt"]),
        skill=tuple(HeldOutSkill(**_numbers(found)) for found in fit["skill"]),
    )


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _numbers(found: dict[str, Any]) -> dict[str, Any]:
    """Return the values with NaN for those that JSON could not hold."""
    return {name: float("nan") if value is None else value for name, value in found.items()}
