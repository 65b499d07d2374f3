"""The campaign file that `athanor init --pool` writes: a distillation of a trajectory one has."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from athanor.cli.pool_recipes import recipe
from athanor.cli.pool_survey import Survey
from athanor.errors import ConfigError
from athanor.query._similarity.memory import forecast
from athanor.query.clustering import ClusteringConfig

PATIENT = 600.0
"""Seconds of one core that fingerprints may take before the faster radial functions are taken."""
SMALL = 200
"""Structures; of fewer, one of each cluster may be more than half."""
DRAWN = 20, 100
"""Structures that a cycle should add: enough to judge by, few enough to be worth choosing."""
MEASURED = 500
"""Structures kept apart are no more than this: errors are then known to a few percent."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the number and size of structures decide.

    Attributes
    ----------
    fraction, held_out : shares of the pool.
    basis : radial functions of SOAP.
    """

    fraction: float
    held_out: float
    basis: str

    @classmethod
    def of(cls, survey: Survey) -> Sizes:
        """For a pool."""
        n = survey.n
        least, most = DRAWN
        fraction = min(max(0.05, least / n), most / n, 0.5)
        return cls(
            fraction=_up(fraction),
            held_out=_up(min(0.2, MEASURED / n)),
            basis="polynomial" if _fingerprints(survey) <= PATIENT else "gto",
        )


def pool_starter(
    survey: Survey,
    *,
    name: str,
    paths: Sequence[str],
    order: Sequence[str] | None,
    potential: str,
    level: int | None,
    oracle: str | None,
    seed: int,
) -> str:
    """Return the text of a campaign file.

    Parameters
    ----------
    paths : as they are to be written. order : species by index, where the file has only indices.
    level : of a moment tensor potential; by default what the pool can determine.

    Raises ConfigError for a path that no UTF-8 text can hold.
    """
    sizes = Sizes.of(survey)
    return TEMPLATE.format(
        found="\n".join(f"# {_printable(line)}" for line in survey.lines()),
        name=quoted(name),
        seed=seed,
        path=quoted(paths[0]) if len(paths) == 1 else _listed(paths),
        order="" if order is None else f"species = {_listed(order)}   # by index in the file\n",
        group=_group(survey),
        oracle="" if oracle is None else ORACLE.format(name=oracle),
        basis=f"{quoted(sizes.basis):<17s}",
        potential=recipe(potential, survey, level=level),
        fraction=f"{sizes.fraction:<14g}",
        first=_counted(sizes.fraction * survey.n),
        held_out=f"{sizes.held_out:<14g}",
        most=1.0 if survey.n < SMALL else 0.5,
        seeds=5 if potential in ("mtp", "lj") else 3,
    )


def expected(survey: Survey) -> str:
    """What similarity and clusters will take, in one sentence."""
    config = ClusteringConfig.model_validate({"basis": Sizes.of(survey).basis})
    told = forecast(survey.n, survey.largest, config, n_species=len(survey.species))
    return f"similarity and clusters, {told.sentence()}"


def quoted(text: str) -> str:
    """As a string of TOML; ConfigError where it is no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{text!r} is not UTF-8 and no campaign file can hold it; rename the file"
        ) from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _printable(line: str) -> str:
    """As a comment may hold it."""
    return "".join(one if one.isprintable() else "?" for one in line)


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, texts))}]"


def _fingerprints(survey: Survey) -> float:
    """Seconds of one core for the fingerprints of the paper."""
    told = forecast(survey.n, survey.largest, ClusteringConfig(), n_species=len(survey.species))
    return float(told.seconds["fingerprints"])


def _up(share: float) -> float:
    """Two digits, never less than was asked for."""
    digits = 1 - math.floor(math.log10(share))
    return float(np.ceil(round(share * 10**digits, 6)) / 10**digits)


def _group(survey: Survey) -> str:
    if survey.groups is None:
        return '# group = "..."          # name of what tells frames apart in the file: a plateau'
    return f'# {len(survey.groups)} groups were found; group = "..." names another key for them'


def _counted(number: float) -> str:
    return f"about {max(1, round(number))}, and one of each at least"


ORACLE = """
[oracle]                 # labels what is chosen and has none
kind = "ase"             # any calculator of ASE, by its name
calculator = "{name}"
settings = {{}}            # its keyword arguments
"""
TEMPLATE = """\
# A distillation: the smallest share of a trajectory that gives a potential of stated accuracy.
# Run it with:  athanor run THIS_FILE
# Killed at any moment and started again with the same line, it carries on.
# `athanor kinds` lists everything that can be chosen by `kind`, with its keys.
#
{found}

[campaign]
name = {name}
seed = {seed}                 # equal seeds give equal results
workers = 2              # processes that work at once

[pool]                   # what is chosen from
kind = "file"
path = {path}
{order}# stride = 10            # every tenth structure only, to try things out
{group}
{oracle}
[query]                  # what is alike: SOAP and Coulomb matrices, spectral clusters
kind = "clustering"
cutoff = 6.0             # Å, of SOAP environments
basis = {basis}# "polynomial" is the paper's, "gto" several times faster
# delta = 0.5            # weight of Coulomb matrices; by default the best of 0, 0.1, ... 1

[potential]              # any recipe; a field marked with a range is searched
{potential}

[search]                 # of what is marked
trials = 12              # fits in the first cycle
initial = 6              # of them spread evenly before anything is inferred
later_trials = 4         # in each further cycle, which begins from the best so far
objective = "energy"     # or "weighted": energies and forces

[cycle]
fraction = {fraction}# of each cluster, in every cycle: {first}
train_fraction = 0.7     # of what is added; the rest chooses among the trials
held_out = {held_out}# of the pool, never chosen: it measures what comes out

[stop]                   # the first rule that holds
energy_rmse_meV = 2.0    # per atom, the tolerance
judged_on = "both"       # "test" (the paper's), "held_out", or "both"
max_fraction = {most}       # of the pool

[compare]                # as many structures chosen otherwise; leave it out to save these fits
seeds = {seeds}                # draws by each way of choosing
arms = ["clusters", "soap", "farthest", "random"]   # "everything" fits the whole pool too
"""
