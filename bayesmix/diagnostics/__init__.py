"""Floor 4: can a fit be believed? Checks, their findings, and tables of a fit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
