r"""Finite mixtures in NumPy, for a reader's own arrays: components run along the last axis.

With log weights :math:`\log\pi_k` and component log densities :math:`\ell_k`,

.. math:: \log p = \log\sum_k e^{\log\pi_k + \ell_k}, \qquad
          h_k = e^{\log\pi_k + \ell_k - \log p}.

Everything stays in log space, so that a row far from every component has a very small density and
not a density of zero.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
