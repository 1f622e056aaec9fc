"""The data of the book: files checked against their manifest, and the census from raw rows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
