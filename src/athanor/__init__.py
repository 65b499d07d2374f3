"""athanor: machine-learned interatomic potentials by active learning.

`athanor.load(path, species=None)` gives a fitted potential, `athanor.calculator(potential)` an ASE
calculator; everything else starts with `athanor run campaign.toml`.
"""

from athanor.calculator import calculator
from athanor.loading import load

__version__ = "0.1.0"
__all__ = ["__version__", "calculator", "load"]
