"""One figure a function: each takes a fit, or a mapping of names to fits, and returns a figure.

Nothing is shown and no state of pyplot is touched. A notebook displays the returned figure; a
script saves it with ``figure.savefig("trace.png", dpi=200)``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
