"""Random numbers side by side: the published generator, and normal numbers made of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayesmix.blocks import lanes

MASK = 2**64 - 1


def state(seed=1):
    """A state of every lane."""
    return lanes.new_state(np.random.default_rng(seed))


def turned(x, by):
    """64 bits rotated to the left."""
    return ((x << by) | (x >> (64 - by))) & MASK


def xoshiro(words):
    """xoshiro256++ in whole numbers without end: the next output, step by step."""
    a, b, c, d = words
    while True:
        yield (turned((a + d) & MASK, 23) + a) & MASK
        shifted = (b << 17) & MASK
        c, d = c ^ a, d ^ b
        b, a = b ^ c, a ^ d
        c, d = c ^ shifted, turned(d, 45)


def in_turn(start, count):
    """The numbers that the lanes give one after the other, in plain Python."""
    each = [xoshiro([int(word) & MASK for word in column]) for column in start.T]
    found = []
    while len(found) < count:
        found += [(next(lane) >> 12) * 2.0**-52 for lane in each[: count - len(found)]]
    return found


def test_the_generator_is_the_published_one():
    """From words 1, 2, 3, 4 the reference code's first outputs are these."""
    found = xoshiro([1, 2, 3, 4])
    assert [next(found) for _ in range(3)] == [41943041, 58720359, 3588806011781223]


@pytest.mark.parametrize("count", [1, 31, 32, 33, 200])
def test_every_lane_steps_as_the_generator_does(count):
    """Bit for bit, over vectors that fill the lanes and that do not."""
    now, out = state(), np.empty(count)
    start = now.copy()
    lanes.uniform(now, out)
    np.testing.assert_array_equal(out, in_turn(start, count))


def test_lanes_differ():
    """Each lane has a state of its own, and seeds have others."""
    one, other = state(1), state(2)
    assert len(np.unique(one)) == one.size == 4 * lanes.LANES
    assert not np.isin(one, other).any()


def test_uniform_numbers_are_uniform():
    """By ten thousand bins, within lanes and over pairs of neighbours."""
    now, out = state(3), np.empty(2**20)
    lanes.uniform(now, out)
    assert out.min() >= 0 and out.max() < 1
    assert stats.chisquare(np.histogram(out, 10_000, (0, 1))[0]).pvalue > 1e-4
    for step in (1, lanes.LANES):
        pairs = np.histogram2d(out[:-step:2], out[step::2], 64, [(0, 1)] * 2)[0]
        assert stats.chisquare(pairs.ravel()).pvalue > 1e-4
    assert stats.chisquare(np.histogram(out**1.03, 10_000, (0, 1))[0]).pvalue < 1e-4  # power


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 1000])
def test_normal_numbers_are_box_mullers(count):
    """From the same uniform numbers NumPy's logarithm, sine and cosine give the same."""
    now, out = state(4), np.empty(count)
    start = now.copy()
    lanes.normal(now, out)
    assert np.isfinite(out).all()
    first = min(lanes.LANES, (count + 1) // 2)
    pairs = np.empty((2, first))
    for row in pairs:
        lanes.uniform(start, row)
    size = np.sqrt(-2 * np.log1p(-pairs[0]))
    turns = 2 * np.pi * pairs[1]
    expected = np.concatenate([size * np.cos(turns), size * np.sin(turns)])[:count]
    np.testing.assert_allclose(out[: 2 * first], expected, rtol=1e-13, atol=1e-14)


def test_normal_numbers_are_normal():
    """Distribution, tails and independence of neighbours, with the power to see a wrong one."""
    now, out = state(5), np.empty(2**20)
    lanes.normal(now, out)
    assert stats.kstest(out, "norm").pvalue > 1e-3
    assert stats.kstest(1.01 * out, "norm").pvalue < 1e-3
    beyond = np.array([(np.abs(out) > cut).sum() for cut in (3, 4)])
    expected = 2 * stats.norm.sf([3, 4]) * out.size
    assert (np.abs(beyond - expected) < 4 * np.sqrt(expected)).all()
    for step in (1, lanes.LANES, 2 * lanes.LANES):
        for power in (1, 2):
            correlation = np.corrcoef(out[:-step] ** power, out[step:] ** power)[0, 1]
            assert abs(correlation) < 4 / np.sqrt(out.size)


def test_radius_and_turn_at_their_ends():
    """The least radius is zero, the largest is finite; every eighth of a turn is exact."""
    turns = np.linspace(0, 1, 4097)[:-1]
    sine, cosine = np.transpose([lanes._sin_cos(turn) for turn in turns])
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), atol=4e-16)
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * turns), atol=4e-16)
