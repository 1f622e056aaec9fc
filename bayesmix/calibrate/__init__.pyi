from .intervals import Recovery as Recovery
from .intervals import recovery as recovery
from .ranks import JOINT as JOINT
from .ranks import LEVEL as LEVEL
from .ranks import Calibration as Calibration
from .ranks import sbc as sbc
from .ranks import uniformity_p_values as uniformity_p_values
