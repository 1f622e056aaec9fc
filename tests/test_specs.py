"""Frozen values to JSON and back, and the checks that every spec uses on its fields."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmix import specs
from bayesmix.errors import SpecError, UnknownName


@dataclass(frozen=True)
class Inner:
    """A spec within a spec."""

    scale: float = 1.0


@dataclass(frozen=True)
class Outer:
    """A spec of everything that a spec may hold."""

    formula: str = "y ~ x"
    count: int = 3
    flag: bool = True
    nothing: None = None
    inner: Inner = field(default_factory=Inner)
    pairs: tuple[tuple[str, Any], ...] = (("a", Inner(2.0)), ("b", None))


TYPES = {"Inner": Inner, "Outer": Outer}
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_json_is_canonical() -> None:
    """Keys are sorted and every spec says its class, so that equal specs have equal texts."""
    text = specs.to_json(Inner(2.5))
    assert text == '{"scale": 2.5, "type": "Inner"}'
    assert list(json.loads(specs.to_json(Outer()))) == sorted(json.loads(specs.to_json(Outer())))


@given(text=st.text(), count=st.integers(), flag=st.booleans(), scale=FINITE)
def test_round_trip_gives_an_equal_spec(text: str, count: int, flag: bool, scale: float) -> None:
    """JSON and back is equal and has the same hash, nested specs and tuples included."""
    spec = Outer(text, count, flag, inner=Inner(scale), pairs=((text, Inner(scale)),))
    back = specs.from_json(specs.to_json(spec), TYPES)
    assert back == spec
    assert hash(back) == hash(spec)
    assert specs.to_json(back) == specs.to_json(spec)


def test_lists_come_back_as_tuples() -> None:
    """A list in a spec comes back as a tuple, which can be hashed."""
    spec = Outer(pairs=[["a", 1]])  # pyright: ignore[reportArgumentType]
    assert specs.from_json(specs.to_json(spec), TYPES).pairs == (("a", 1),)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "finite numbers only, got nan"),
        (math.inf, "finite numbers only, got inf"),
        (-math.inf, "finite numbers only, got -inf"),
        ({"a": 1}, "cannot hold a dict"),
        (np.zeros(2), "cannot hold a ndarray"),
        (Inner, "cannot hold a type"),
        (1j, "cannot hold a complex"),
    ],
)
def test_what_json_cannot_hold_is_refused(value: object, words: str) -> None:
    """A field that would not come back equal is refused when it is written."""
    with pytest.raises(SpecError, match=words):
        specs.to_json(Outer(pairs=(("a", value),)))


def test_only_listed_classes_are_built() -> None:
    """A class name that is not offered is an error with the closest one that is."""
    with pytest.raises(UnknownName, match=r"no class is called 'Iner': did you mean 'Inner'\?"):
        specs.from_json('{"type": "Iner", "scale": 1.0}', TYPES)


@given(value=st.floats(-5, 5) | st.integers(-5, 5))
def test_numbers_in_range_pass_as_floats(value: float) -> None:
    """A number within closed bounds comes back as a float of the same value."""
    checked = specs.check_number("Owner", "field", value, low=-5, high=5)
    assert type(checked) is float
    assert checked == value


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        ("1", {}, "Owner: field must be a number, got '1'"),
        (None, {}, "must be a number, got None"),
        (True, {}, "must be a number, got True"),
        (math.nan, {}, r"must be finite and lie in \[-inf, inf\], got nan"),
        (math.inf, {}, "must be finite"),
        (-0.1, {"low": 0}, r"lie in \[0, inf\], got -0.1"),
        (1.1, {"low": 0, "high": 1}, r"lie in \[0, 1\], got 1.1"),
        (0, {"low": 0, "strict": True}, r"lie in \(0, inf\), got 0"),
        (1.0, {"low": 0, "high": 1, "strict": True}, r"lie in \(0, 1\), got 1.0"),
    ],
)
def test_other_numbers_are_refused(value: object, bounds: dict[str, Any], words: str) -> None:
    """What is no number, not finite or out of range is refused, with the range in the message."""
    with pytest.raises(SpecError, match=words):
        specs.check_number("Owner", "field", value, **bounds)


def test_bounds_belong_to_closed_ranges_alone() -> None:
    """The ends of a range are allowed unless it is strict."""
    assert specs.check_number("Owner", "field", 0, low=0, high=1) == 0.0
    assert specs.check_number("Owner", "field", 1, low=0, high=1) == 1.0


@pytest.mark.parametrize(
    ("value", "low"), [(0, 1), (-1, 0), (1.0, 1), ("3", 1), (True, 1), (None, 1), (2, 3)]
)
def test_what_is_no_count_is_refused(value: object, low: int) -> None:
    """Fractions, texts, booleans and numbers below the least are no counts."""
    with pytest.raises(SpecError, match=rf"Owner: field must be a whole number >= {low}, got "):
        specs.check_count("Owner", "field", value, low=low)


def test_counts_pass_from_the_least_on() -> None:
    """The least count is allowed, and 1 is the least unless said otherwise."""
    assert specs.check_count("Owner", "field", 1) == 1
    assert specs.check_count("Owner", "field", 0, low=0) == 0


def test_choices_pass_and_others_get_a_suggestion() -> None:
    """One of the choices passes; anything else is refused with the closest and all of them."""
    allowed = ("centered", "noncentered")
    assert specs.check_choice("Owner", "field", "centered", allowed) == "centered"
    with pytest.raises(SpecError, match=r"field='centred' is not known: did you mean 'centered'\?"):
        specs.check_choice("Owner", "field", "centred", allowed)
    with pytest.raises(SpecError, match=r"field=3 is not known: Allowed: 'centered', 'noncen"):
        specs.check_choice("Owner", "field", 3, allowed)
