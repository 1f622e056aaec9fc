"""Random numbers: named streams from one seed, and no global state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmix import rng
from bayesmix.errors import SpecError


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), np.uint8(7), 2**63 - 1])
def test_a_seed_comes_back_as_a_plain_int(seed: int) -> None:
    """Whole numbers of Python and NumPy are seeds, and come back as Python's own."""
    checked = rng.check_seed(seed)
    assert type(checked) is int
    assert checked == seed


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        (-1, r"lie in \[0, 2\*\*63\), got -1"),
        (2**63, r"lie in \[0, 2\*\*63\)"),
        (1.0, "must be an int or None, got float 1.0"),
        ("1", "must be an int or None, got str '1'"),
        (True, "must be an int or None, got bool True"),
    ],
)
def test_what_is_not_a_seed_is_refused(seed: object, words: str) -> None:
    """Fractions, texts, booleans and numbers out of range are no seeds; the message says which."""
    with pytest.raises(SpecError, match=words):
        rng.check_seed(seed)  # pyright: ignore[reportArgumentType]


def test_no_seed_draws_one() -> None:
    """None draws a new seed below 2**31 each time."""
    drawn = {rng.check_seed(None) for _ in range(20)}
    assert len(drawn) == 20
    assert all(0 <= seed < 2**31 for seed in drawn)


@given(seed=st.integers(0, rng.MAX_SEED), name=st.text(max_size=20))
def test_a_stream_depends_on_seed_and_name_alone(seed: int, name: str) -> None:
    """The same seed and name give the same numbers, whatever was drawn in between."""
    first = rng.stream(seed, name).random(4)
    rng.stream(seed, name + "x").random(3)
    np.testing.assert_array_equal(first, rng.stream(seed, name).random(4))


@given(seed=st.integers(0, rng.MAX_SEED - 1))
def test_streams_of_other_names_and_seeds_differ(seed: int) -> None:
    """Neither another name nor the next seed repeats a stream."""
    drawn = rng.stream(seed, "init").random(4)
    assert not np.array_equal(drawn, rng.stream(seed, "predict").random(4))
    assert not np.array_equal(drawn, rng.stream(seed + 1, "init").random(4))


def test_streams_are_pinned() -> None:
    """The numbers of a stream are part of the contract: a stored seed must repeat an old fit."""
    assert rng.stream(1, "predict").integers(1000, size=4).tolist() == [758, 998, 307, 316]


def test_streams_are_uncorrelated() -> None:
    """10,000 numbers of two streams of one seed correlate less than 4 standard errors."""
    both = rng.streams(5, "init", "predict")
    a, b = (both[name].standard_normal(10_000) for name in ("init", "predict"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(10_000)


def test_streams_are_named_as_asked() -> None:
    """One generator for each name, each equal to the stream of that name."""
    both = rng.streams(3, "init", "minibatch")
    assert list(both) == ["init", "minibatch"]
    assert both["minibatch"].random() == rng.stream(3, "minibatch").random()


def test_integers_for_engines_fit_31_bits() -> None:
    """An engine's seed is a plain int in [0, 2**31), and moves on with its stream."""
    source = rng.stream(3, "engine")
    drawn = [rng.integer(source) for _ in range(100)]
    assert all(type(value) is int and 0 <= value < 2**31 for value in drawn)
    assert len(set(drawn)) == 100


def test_nothing_global_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing from streams neither reads nor seeds NumPy's global generator."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the global generator was used")

    for name in ("seed", "random", "rand", "randint", "set_state", "get_state"):
        monkeypatch.setattr(np.random, name, forbidden)
    rng.integer(rng.stream(1, "a"))
    rng.streams(1, "a", "b")
    rng.check_seed(None)


def test_torch_is_seeded_inside_and_untouched_outside() -> None:
    """A torch block repeats under the same stream, and torch's global state is as before."""
    import torch

    before = torch.random.get_rng_state()
    with rng.torch_seed(rng.stream(1, "net")):
        first = torch.rand(3)
    with rng.torch_seed(rng.stream(1, "net")):
        second = torch.rand(3)
    with rng.torch_seed(rng.stream(2, "net")):
        other = torch.rand(3)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())
