"""bayesmix: Bayesian mixtures and hierarchical models, each in PyMC and in PyTorch."""

import lazy_loader

from bayesmix.compiled import sources as sources

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
