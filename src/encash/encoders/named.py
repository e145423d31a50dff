"""Third-party encoders, by ``module:attribute`` or by the name of an entry point.

The module is imported, which runs its code: name only modules that you trust.
"""

from __future__ import annotations

from encash.encoders.base import Encoder, EncoderSpec
from encash.encoders.options import LoadOptions
from encash.encoders.registry import ENTRY_POINTS, MODEL_NAMES
from encash.errors import FormatError, InputError
from encash.plugins import find_plugin

_TOO_LARGE = 2**31
"""Lance counts the numbers of a vector in 32 bits."""


def load_named(name: str, options: LoadOptions) -> Encoder:
    """Load an `Encoder`, or what a class or function returns when called without arguments.

    Raises:
        FormatError: neither the name of an entry point nor ``module:attribute``.
        InputError: no such module or attribute, not an encoder, one that cannot be made, sizes that no encoder has, or
            settings other than its own.
    """
    found = find_plugin(name, ENTRY_POINTS)
    if found is None:
        raise FormatError(f"{name} does not name a model; expected {MODEL_NAMES}")
    try:
        encoder = found() if callable(found) and not isinstance(found, Encoder) else found
    except (ValueError, TypeError, AttributeError, LookupError, RuntimeError) as error:
        raise InputError(f"{name}() raised {type(error).__name__}: {error}; correct it") from error
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{name} has the type {type(encoder).__name__}; expected an encash.encoders.Encoder, or a class or "
            "function that returns one without arguments (check yours with encash.testing.EncoderContract)"
        )
    spec = _checked_spec(name, encoder)
    own = {"engine": spec.engine, "precision": spec.precision, "lookback": spec.lookback, "pooling": spec.pooling}
    options.refuse("device", "bin_edges", "bin_unit", "model_config", "ignore_keys", own=own)
    encoder.batch_size = options.batch_size or encoder.batch_size
    encoder.choice = encoder.choice or f"{spec.precision}, {spec.engine}, {name}: its own settings"
    return encoder


def _checked_spec(name: str, encoder: Encoder) -> EncoderSpec:
    """Return the spec of an encoder whose sizes are whole numbers that a cache can hold."""
    spec = getattr(encoder, "spec", None)
    if not isinstance(spec, EncoderSpec):
        raise InputError(f"{name} has no spec; expected self.spec = EncoderSpec(…) and self.batch_size in its __init__")
    sizes = {one: getattr(spec, one) for one in ("lookback", "num_features", "dim")}
    sizes |= {"batch_size": getattr(encoder, "batch_size", None)}
    sizes |= {f"horizons[{place}]": horizon for place, horizon in enumerate(spec.horizons)}
    if wrong := [one for one, size in sizes.items() if type(size) is not int or not 0 < size < _TOO_LARGE]:
        raise InputError(f"{name} has the {wrong[0]} {sizes[wrong[0]]!r}; expected a whole number from 1")
    return spec
