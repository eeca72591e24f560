"""Tables on disk: written in bounded memory, alone or in parts, resumed after a fault, verified.

`write` is all it takes for one table; `write_plan` writes many.
"""

from ..errors import OutputError
from .advice import ScaleWarning
from .finishing import finish
from .layout import Tensor
from .opening import StoredTable, Tables, open
from .plan import named_seed, read_plan, write_plan
from .reading import describe, tensors
from .verifying import Report, verify
from .writing import Summary, grow, write

__all__ = [
    "OutputError",
    "Report",
    "ScaleWarning",
    "StoredTable",
    "Summary",
    "Tables",
    "Tensor",
    "describe",
    "finish",
    "grow",
    "named_seed",
    "open",
    "read_plan",
    "tensors",
    "verify",
    "write",
    "write_plan",
]
