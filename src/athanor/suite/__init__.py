"""The physics suite: many properties of many calculators, measured once each, side by side."""

from athanor.suite.config import SuiteConfig
from athanor.suite.runner import run
from athanor.suite.subjects import Subject

__all__ = ["Subject", "SuiteConfig", "run"]
