"""The book's two mixtures of one to many: N(0, 5) on everything, scale = exp(.) + 0.01."""

from __future__ import annotations

from typing import Any

import bayesmix as bm

AS_IN_THE_BOOK: dict[str, Any] = {"priors": bm.Normal(0, 5), "floor": 0.01}
EXPERTS = bm.MixtureOfExperts("target ~ x", 3, **AS_IN_THE_BOOK)
NETWORK = bm.MDN("x", "target", 3, **AS_IN_THE_BOOK)
