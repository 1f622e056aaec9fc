from .finite import gumbel_max as gumbel_max
from .finite import log_density as log_density
from .finite import log_softmax as log_softmax
from .finite import moments as moments
from .finite import responsibilities as responsibilities
