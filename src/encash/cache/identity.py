"""Identity of a cache: which encoder it belongs to, and how that is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import MismatchError
from encash.fingerprint import explain_difference, file_digest, fingerprint
from encash.store.base import StoreSpec

SOURCES = "sources"
"""Note: SHA-256 of the model files that this cache is known to come from."""
RATE = "entries_per_second"
"""Note: speed of the encoder when it filled this cache, for estimates."""
AGREEMENT = "agreement"
"""Note: measured agreement of a dtype narrower than float32 with the original vectors."""
UNVERIFIED = "unverified"
"""Note: why the model of these vectors is unknown; present only in caches imported on trust."""


def cache_fingerprint(spec: EncoderSpec, dtype: str) -> str:
    """Return the identity of one encoder's entries stored as one dtype (64 hexadecimal digits)."""
    return fingerprint(_identity(spec, dtype))


def store_spec(spec: EncoderSpec, dtype: str, sources: Sequence[str | None] = ()) -> StoreSpec:
    """Return the description that a new store for an encoder is created with.

    Args:
        spec: the encoder.
        dtype: float32, float16 or int8.
        sources: digests of the files that the encoder was read from.
    """
    return StoreSpec(
        dim=spec.dim,
        dtype=dtype,
        horizons=spec.horizons,
        encoder=spec.describe(),
        fingerprint=cache_fingerprint(spec, dtype),
        forecast_fingerprint=spec.forecast_fingerprint,
        notes={SOURCES: [digest for digest in sources if digest]},
    )


def encoder_of(store: StoreSpec) -> EncoderSpec | None:
    """Return the encoder that made a cache; None if the cache has no provenance."""
    return EncoderSpec.from_description(store.encoder) if store.encoder else None


def known_encoder(store: StoreSpec) -> EncoderSpec:
    """Return the encoder that made a cache.

    Raises:
        MismatchError: it is not recorded.
    """
    if (spec := encoder_of(store)) is None:
        raise MismatchError(
            "this cache does not record which model made it, so its windows are unknown; "
            "`encash cache verify CACHE --model M --data F` finds out whether it was this one"
        )
    return spec


def is_unverified(store: StoreSpec) -> bool:
    """Return whether it is unknown which model made these vectors."""
    return not store.fingerprint or UNVERIFIED in (store.notes or {})


def check_encoder(store: StoreSpec, spec: EncoderSpec, *, dtype: str | None = None, forecasts: bool = False) -> None:
    """Refuse a cache that a different encoder made, whatever its dimension.

    Args:
        store: the cache.
        spec: the encoder in hand.
        dtype: the requested dtype; None takes the cache's.
        forecasts: the forecasts must be equal too (bin edges change them, and leave the embeddings as they are).

    Raises:
        MismatchError: names each field that differs.
    """
    if is_unverified(store):
        raise MismatchError(
            "this cache does not record which model made it, so nothing can be added to it or checked against a model; "
            "`encash cache verify CACHE --model M --data F` finds out whether it was this one"
        )
    dtype = store.dtype if dtype is None else dtype
    if store.fingerprint == cache_fingerprint(spec, dtype):
        if not (forecasts and store.horizons) or store.forecast_fingerprint == spec.forecast_fingerprint:
            return
        lines = explain_difference(_forecast_rule(encoder_of(store)), _forecast_rule(spec))
    else:
        lines = explain_difference(_stored_identity(store), _identity(spec, dtype))
    raise MismatchError(
        "the cache was built with a different encoder or dtype (cache → yours): "
        + "; ".join(lines)
        + "; give the model that built the cache, or build a new cache for this one"
    )


def remember(store: StoreSpec, source: str | None, rate: float | None) -> StoreSpec:
    """Return the spec with this model file, and the model's speed, noted; the same object if it has both already.

    Args:
        store: the cache.
        source: digest of the file that the encoder was read from.
        rate: entries per second, if measured.
    """
    notes = dict(store.notes or {})
    if source and source not in notes.get(SOURCES, []):
        notes[SOURCES] = [*notes.get(SOURCES, []), source]
    if rate is not None:
        notes.setdefault(RATE, rate)
    return store if notes == (store.notes or {}) else replace(store, notes=notes)


def recognizes(store: StoreSpec, model: str | Path | Encoder) -> bool:
    """Return whether a model's file is, byte for byte, one that this cache was built from; a path is not loaded.

    False does not prove the opposite: the same weights may be in a different file. Then load the model and call
    `check_encoder`.
    """
    known = (store.notes or {}).get(SOURCES, [])
    if isinstance(model, Encoder):
        return model.source_digest in known
    return bool(known) and Path(model).is_file() and file_digest(model) in known


def _identity(spec: EncoderSpec, dtype: str) -> dict[str, Any]:
    return {**spec.identity(), "dtype": dtype}


def _stored_identity(store: StoreSpec) -> dict[str, Any]:
    spec = encoder_of(store)
    return {"dtype": store.dtype} if spec is None else _identity(spec, store.dtype)


def _forecast_rule(spec: EncoderSpec | None) -> dict[str, Any]:
    return {} if spec is None else {"forecast_rule": spec.forecast_rule, "horizons": list(spec.horizons)}
