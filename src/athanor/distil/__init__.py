"""Distillation: the smallest share of a pool that gives a potential of stated accuracy.

Shuaib et al. 2024: similarity, clusters, a few structures of each, a fit with optimised
hyperparameters, more structures until the tolerance is met.
"""

from athanor.distil.config import DistilConfig, is_distillation
from athanor.distil.folder import Distillation
from athanor.distil.runner import run

__all__ = ["DistilConfig", "Distillation", "is_distillation", "run"]
