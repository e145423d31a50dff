"""Descriptions of dataclasses: plain values, format versions, and fingerprints that stay."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from encash.arrays import DayLike
from encash.encoders import EncoderSpec
from encash.errors import FormatError, InputError
from encash.fingerprint import fingerprint
from encash.serialization import added_in, describe, from_description, identity, restated_in


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A nested description."""

    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class Old:
    """Format 1 of a class."""

    name: str
    fee: float = 0.0
    spans: tuple[int, ...] = (1, 2)
    start: DayLike | None = None
    notes: Mapping[str, Any] | None = None
    inner: Inner = Inner()


@dataclass(frozen=True, kw_only=True)
class New(Old):
    """The same class, two formats later."""

    tax: float = added_in(2, default=0.0)
    layers: tuple[int, ...] = added_in(3, default=())


SPEC = EncoderSpec(
    architecture="transformer hidden=64 layers=2 heads=4 head=regression",
    weights="ab" * 32,
    lookback=60,
    num_features=5,
    dim=64,
    horizons=(1, 5, 10, 20),
    forecast_rule="bins ratio 0123",
    feature_names=("return_1", "rank_return_1"),
    train_end="2023-12-29",
    precision="bfloat16",
)


def test_the_fingerprints_of_existing_caches_stay():
    """An encoder has the fingerprints that it had before descriptions had a format (literal values of that code)."""
    assert SPEC.fingerprint == "8c4b987561a9b20820cbc244fa8f058c43cd91938ff51274447f482ccecafb57"
    assert replace(SPEC, feature_set="prices-2").fingerprint == SPEC.fingerprint
    assert SPEC.forecast_fingerprint == "83e974d87a6cc8c0d79a068fc42092c2c3ec68d3fea938f0326dfc9110f51c3b"
    file = EncoderSpec(
        architecture="onnxruntime",
        weights="cd" * 32,
        lookback=20,
        num_features=3,
        dim=8,
        horizons=(),
        engine="onnxruntime",
    )
    assert file.fingerprint == "756891b080609c0284460a45c4928502e531b482228e375fc38e7f37d3a6e847"
    assert file.forecast_fingerprint == ""


def test_a_description_without_a_format_is_format_1():
    """What was written before formats existed is read as format 1, and has the same identity."""
    described = SPEC.describe()
    assert described.pop("format") == 1
    assert EncoderSpec.from_description(described) == SPEC
    assert EncoderSpec.from_description(described).fingerprint == SPEC.fingerprint


def test_a_description_survives_json():
    """describe and from_description are inverse, by way of JSON, with dates and nested dataclasses."""
    spec = New(name="a", start="2024-01-02", notes={"a": [1, 2.5, None]}, inner=Inner(seed=3), layers=(1,))
    assert from_description(New, json.loads(json.dumps(describe(spec))), what="it") == spec


@pytest.mark.parametrize("day", [np.datetime64("2024-01-02"), dt.date(2024, 1, 2), "2024-01-02"])
def test_numpy_values_and_days_are_described_as_plain_values(day):
    """A description holds no numpy value, and one day is described in one way."""
    values: dict[str, Any] = {"name": np.str_("a"), "fee": np.float64(0.5), "spans": (np.int64(3),), "start": day}
    described = describe(Old(**values))
    assert described == describe(Old(name="a", fee=0.5, spans=(3,), start="2024-01-02"))
    assert type(described["fee"]) is float
    assert type(described["spans"][0]) is int


def test_a_later_field_with_its_default_changes_nothing():
    """A field of a later format is described, and part of the identity, only if its value is not the default."""
    old, new = Old(name="a"), New(name="a")
    assert describe(new) == describe(old)
    assert identity(new) == identity(old)
    assert fingerprint(identity(replace(new, tax=0.1))) != fingerprint(identity(old))


def test_the_format_is_the_lowest_that_knows_all_described_fields():
    """An older reader can read what it understands, and refuses only what uses a later field."""
    assert describe(New(name="a"))["format"] == 1
    assert describe(New(name="a", tax=0.1))["format"] == 2
    assert describe(New(name="a", layers=(1,)))["format"] == 3
    assert "format" not in identity(New(name="a", layers=(1,)))
    assert from_description(Old, describe(New(name="a")), what="it") == Old(name="a")
    with pytest.raises(FormatError, match=r"it: format 2 was written by a newer encash; .* up to 1: update encash"):
        from_description(Old, describe(New(name="a", tax=0.1)), what="it")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 3}, "newer encash"),
        ({"format": 0}, "invalid format 0"),
        ({"format": "1"}, "invalid format '1'"),
        ({"format": True}, "invalid format True"),
        ({"dims": 3}, "unknown field 'dims'; expected only architecture"),
        ({"dim": "64"}, "dim is '64': Expected `int`"),
        ({"dim": 64.0}, "dim is 64.0: Expected `int`"),
        ({"horizons": [1, "5"]}, r"horizons is \[1, '5'\]"),
        ({"horizons": 5}, "horizons is 5"),
        ({"feature_names": [1]}, r"feature_names is \[1\]"),
    ],
)
def test_a_description_that_is_none_is_refused_in_our_words(change, said):
    """An unknown field or a value of a different type is a FormatError that names the field, never a bare TypeError."""
    with pytest.raises(FormatError, match=f"^the encoder of C: .*{said}|^the encoder of C: {said}"):
        EncoderSpec.from_description({**SPEC.describe(), **change}, what="the encoder of C")


def test_a_missing_field_is_refused():
    """A field without a default must be described."""
    with pytest.raises(FormatError, match="it: the field 'name' is missing"):
        from_description(Old, {"fee": 1.0}, what="it")


def test_a_nested_class_refuses_in_its_own_words():
    """The message of a nested dataclass passes unchanged."""
    with pytest.raises(InputError, match=r"^seed is -1; expected 0 or more$"):
        from_description(Old, {"name": "a", "inner": {"seed": -1}}, what="it")


def test_an_integer_stays_an_integer():
    """0 and 0.0 have different fingerprints, so a fee of 0 is not read back as 0.0."""
    assert type(from_description(Old, describe(Old(name="a", fee=0)), what="it").fee) is int


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_not_described(value):
    """NaN and infinity would come back as None; they are refused instead."""
    with pytest.raises(ValueError, match="JSON"):
        describe(Old(name="a", fee=value))


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A class one of whose fields has a different meaning since format 2."""

    gate: float = restated_in(2, default=0.0)


def test_only_the_default_of_a_restated_field_means_what_it_meant():
    """The default keeps description and identity; a value of the old format is refused, one of the new is read, and
    equal numbers of both meanings have different identities."""
    assert describe(Gate()) == {"format": 1, "gate": 0.0}
    assert identity(Gate()) == {"gate": 0.0}
    assert from_description(Gate, {"gate": 0.0}, what="it") == Gate()
    new = Gate(gate=0.2)
    assert from_description(Gate, json.loads(json.dumps(describe(new))), what="it") == new
    assert fingerprint(identity(new)) != fingerprint({"gate": 0.2})
    with pytest.raises(FormatError, match="a different meaning since format 2"):
        from_description(Gate, {"gate": 0.2}, what="it")
