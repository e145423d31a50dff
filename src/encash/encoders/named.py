"""Third-party encoders, by ``module:attribute`` or by the name of an entry point.

The module is imported, which runs its code: name only modules that you trust.
"""

from __future__ import annotations

from encash.encoders.base import Encoder
from encash.encoders.options import LoadOptions
from encash.encoders.registry import ENTRY_POINTS, MODEL_NAMES
from encash.errors import FormatError, InputError
from encash.plugins import find_plugin


def load_named(name: str, options: LoadOptions) -> Encoder:
    """Load an `Encoder`, or what a class or function returns when called without arguments.

    Raises:
        FormatError: neither the name of an entry point nor ``module:attribute``.
        InputError: no such module or attribute, not an encoder, or settings other than its own.
    """
    found = find_plugin(name, ENTRY_POINTS)
    if found is None:
        raise FormatError(f"{name} does not name a model; expected {MODEL_NAMES}")
    encoder = found() if callable(found) and not isinstance(found, Encoder) else found
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{name} is a {type(encoder).__name__}; expected an encash.encoders.Encoder, or a class or function that "
            "returns one without arguments (check yours with encash.testing.EncoderContract)"
        )
    spec = encoder.spec
    own = {"engine": spec.engine, "precision": spec.precision, "lookback": spec.lookback, "pooling": spec.pooling}
    options.refuse("device", "bin_edges", "bin_unit", "model_config", "ignore_keys", own=own)
    encoder.batch_size = options.batch_size or encoder.batch_size
    encoder.choice = encoder.choice or f"{spec.precision}, {spec.engine}, {name}: its own settings"
    return encoder
