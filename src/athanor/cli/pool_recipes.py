"""The section [potential] of a distillation's first campaign file, with a few ranges."""

from __future__ import annotations

import json
import math

from athanor.cli.pool_survey import Survey
from athanor.errors import ConfigError

FEW = 10_000
"""Atoms in a pool below which a small potential is all that can be determined."""
NEAR, FAR = 25, 100
"""Neighbours within the shortest and the longest cutoff that is tried."""
GAP_NEAR, GAP_FAR = 12, 45
"""The same of SOAP beside a two-body term, which reaches farther."""
CUTOFFS = (4.0, 6.0)
"""Å, of structures without a density."""


def recipe(kind: str, survey: Survey, *, level: int | None) -> str:
    """The lines of a section [potential] for this pool; of other kinds than ours only `kind`."""
    made = {"mtp": _mtp, "gap": _gap, "ani": _ani, "lj": _lj}
    if kind != "mtp" and level is not None:
        raise ConfigError(f"--level is of moment tensor potentials, not of {kind}; leave it out")
    return made[kind](survey, level) if kind in made else f'kind = "{kind}"'


def _cutoffs(survey: Survey, *, near: int = NEAR, far: int = FAR) -> tuple[float, float]:
    """Å: from the neighbours of neighbours to where little more is to be gained."""
    shortest, longest = survey.radius(near), survey.radius(far)
    if shortest is None or longest is None:
        shortest, longest = CUTOFFS
    low = round(max(min(max(shortest, 3.0), 6.0), 1.5 * (survey.closest or 0.0)), 1)
    return low, max(min(round(longest, 1), 8.0), low + 1.0)


def _range(low: float, high: float) -> str:
    return f"{{ low = {low:.1f}, high = {high:.1f} }}"


def _mtp(survey: Survey, level: int | None) -> str:
    chosen = (8 if survey.atoms < FEW else 12) if level is None else level
    low, high = _cutoffs(survey)
    lines = [
        'kind = "mtp"             # moment tensor potential (Novikov et al. 2021)',
        f"species = {json.dumps(list(survey.species))}",
        f"level = {chosen:<17d}# 2, 4, ..., 28: accuracy against speed",
    ]
    if survey.closest is not None and survey.closest > 0.1:
        least = math.floor(95 * survey.closest) / 100
        lines.append(f"min_dist = {least:<14g}# Å, a repulsive core takes over below")
    return "\n".join(
        [
            *lines,
            f"max_dist = {_range(low, high)}   # Å, the cutoff",
            "radial_basis_size = { low = 6, high = 12 }",
            "force_weight = { low = 0.001, high = 0.1, log = true }   # beside energies",
            "starts = 2               # random first guesses; more for a last percent",
        ]
    )


def _gap(survey: Survey, level: int | None) -> str:
    low, high = _cutoffs(survey, near=GAP_NEAR, far=GAP_FAR)
    sparse = 100 if survey.atoms < FEW else 400
    return "\n".join(
        [
            'kind = "gap"             # Gaussian approximation potential: two-body and SOAP',
            f"cutoff = {_range(low, high)}      # Å, of SOAP environments",
            "atom_sigma = { low = 0.3, high = 0.6 }  # Å, to which atoms are smeared",
            "sigma_energy = { low = 1e-4, high = 1e-2, log = true }   # eV/atom, expected error",
            "sigma_force = { low = 0.01, high = 0.2, log = true }     # eV/Å, expected error",
            f"n_sparse = {sparse:<14d}# environments of each element; time and memory grow with it",
        ]
    )


def _ani(survey: Survey, level: int | None) -> str:
    low, high = _cutoffs(survey)
    first = 1.25 if survey.closest is None else round(min(max(0.85 * survey.closest, 0.3), 4.0), 2)
    lines = [
        'kind = "ani"             # an ensemble of neural networks (Smith et al. 2021)',
        "size = 4                 # networks",
        f"species = {json.dumps(list(survey.species))}",
        f"radial_cutoff = {_range(round(low + 0.5, 1), high)}   # Å",
        f"angular_cutoff = {min(low, 5.0):<8.1f}# Å; triples grow with its sixth power",
        f"first_shell = {first:<11g}# Å, where shells begin",
        "per_atom = true          # energies count per atom",
        "l0 = { low = 0.01, high = 1.0, log = true }   # Å², weight of forces",
        "max_epochs = 100",
    ]
    if not survey.forces:
        lines.append('without_forces = "energy"   # trained on energies alone')
    return "\n".join(lines)


def _lj(survey: Survey, level: int | None) -> str:
    low, high = _cutoffs(survey)
    return f'kind = "lj"              # Lennard-Jones\ncutoff = {_range(low, high)}   # Å'
