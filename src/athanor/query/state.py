"""A D-optimality query from an active set that the published MLIP code has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from athanor.errors import ConfigError
from athanor.potentials import Potential
from athanor.potentials._mtp.mlip_state import MlipState, read_state
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials.mtp import MomentTensorPotential
from athanor.query import QueryConfig
from athanor.query._maxvol import ActiveSet
from athanor.query.doptimality import DOptimalityConfig, DOptimalQuery

_ALIKE = 1e-9
"""Relative difference of coefficients that 15 or more written digits may leave."""


def query_from_state(
    potential: Potential, path: str | Path, *, recipe: QueryConfig
) -> DOptimalQuery:
    """Grade with the active set of an MLIP-2 `.als` or an MLIP-3 `.almtp` file, as it is.

    No better active set is sought, so that grades are those of the published code; `recipe` gives
    the thresholds, which such a file does not hold.

    Raises
    ------
    ConfigError : `recipe` is no D-optimality, `potential` is not the moment tensor potential of the
        file, or `recipe.by` was given and is not what the file's rows are.
    FormatError : the file is damaged, or none of these.
    """
    if not isinstance(recipe, DOptimalityConfig):
        raise ConfigError(
            f"{path}: an active-learning state is for the query doptimality, not for "
            f"{getattr(recipe, 'kind', type(recipe).__name__)}"
        )
    if not isinstance(potential, MomentTensorPotential):
        raise ConfigError(
            f"{path}: an active-learning state of MLIP belongs to a moment tensor potential, "
            f"and this is a {type(potential).__name__}; give the training set instead"
        )
    state = read_state(path, potential.model.species)
    different = _difference(potential.model, state.model)
    if different:
        raise ConfigError(
            f"{path}: the state was made with another potential ({different} differ); "
            "give that one, or the training set instead of the state"
        )
    if "by" in recipe.model_fields_set and recipe.by != state.by:
        raise ConfigError(
            f"{path}: its rows are made by {state.by}, not by {recipe.by}; "
            f"choose by {state.by}, or give the training set instead of the state"
        )
    return DOptimalQuery(potential, _active(state), state.by, recipe.save, recipe.halt)


def active_structures(path: str | Path, species: Sequence[str]) -> list[Atoms]:
    """The structures that the active set of an MLIP state is of, in the order of the file.

    Raises FormatError, ConfigError as `read_state`, StructureError.
    """
    return read_state(path, species).structures()


def _active(state: MlipState) -> ActiveSet:
    return ActiveSet.holding(
        state.rows, np.array(state.origins, dtype=np.intp), 1 + max(state.origins, default=-1)
    )


def _difference(ours: MtpModel, theirs: MtpModel) -> str:
    """The name of what differs between two models, empty where they are the same potential."""
    for name in ("basic", "times", "mapping"):
        if not np.array_equal(getattr(ours.tables, name), getattr(theirs.tables, name)):
            return f"tables {name}"
    for name in (
        *("min_dist", "max_dist", "scaling"),
        *("radial", "species_coeffs", "moment_coeffs"),
    ):
        one, other = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
        if one.shape != other.shape or np.abs(one - other).max() > _ALIKE * np.abs(one).max():
            return name
    return ""
