r"""Finite mixtures in NumPy, for a reader's own arrays: components run along the last axis.

With log weights :math:`\log\pi_k` and component log densities :math:`\ell_k`,

.. math:: \log p = \log\sum_k e^{\log\pi_k + \ell_k}, \qquad
          h_k = e^{\log\pi_k + \ell_k - \log p}.

Everything stays in log space, so that a row far from every component has a very small density and
not a density of zero.
"""

from bayesmix.mixtures.finite import gumbel_max as gumbel_max
from bayesmix.mixtures.finite import log_density as log_density
from bayesmix.mixtures.finite import log_softmax as log_softmax
from bayesmix.mixtures.finite import moments as moments
from bayesmix.mixtures.finite import responsibilities as responsibilities
