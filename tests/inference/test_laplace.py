"""Laplace: what it refuses; its posteriors are tested with the models'."""

from __future__ import annotations

import numpy as np
import pytest

from bayesmix.errors import NotConverged
from bayesmix.inference.laplace import _information


class Quadratic:
    """Half the sum of bends times squares, two dimensions."""

    def __init__(self, *bends):
        self.bends = np.array(bends)

    def log_density(self, point):
        """Value and gradient."""
        return 0.5 * float(self.bends @ point**2), self.bends * point


def test_a_saddle_is_no_mode():
    """Where the density rises in one direction the error names three ways out."""
    both = np.arange(2)
    found = _information(Quadratic(-2.0, -3.0), np.zeros(2), both)
    np.testing.assert_allclose(found, np.diag([2.0, 3.0]), atol=1e-6)
    with pytest.raises(NotConverged, match=r"layer='last' or ADVI\(covariance='fullrank'\)"):
        _information(Quadratic(-2.0, 1.0), np.zeros(2), both)
    # the direction that rises may be held fixed
    assert _information(Quadratic(-2.0, 1.0), np.zeros(2), both[:1]).shape == (1, 1)
