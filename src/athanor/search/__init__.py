"""Hyperparameters by Bayesian optimisation: a field of a recipe may be a range, not a value.

`marked` reads such a recipe, `propose` says what to try next given what was found, `optimise` is
the loop around it. A point is a mapping from dotted path to value: {"max_dist": 5.2, "level": 12}.
"""
