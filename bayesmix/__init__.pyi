from . import calibrate as calibrate
from . import datasets as datasets
from . import errors as errors
from . import plots as plots
from . import priors as priors
from . import scoring as scoring
from .comparison import Comparison as Comparison
from .comparison import compare as compare
from .inference.advi import ADVI as ADVI
from .inference.laplace import Laplace as Laplace
from .inference.map import MAP as MAP
from .inference.mle import MLE as MLE
from .inference.nuts import NUTS as NUTS
from .models.binomial_glm import BinomialGLM as BinomialGLM
from .priors import LKJ as LKJ
from .priors import Exponential as Exponential
from .priors import HalfCauchy as HalfCauchy
from .priors import HalfNormal as HalfNormal
from .priors import Normal as Normal
from .priors import StudentT as StudentT
from .result import Fit as Fit
from .workflow import fit as fit
from .workflow import load as load
from .workflow import methods as methods
from .workflow import methods_for as methods_for

__version__: str
