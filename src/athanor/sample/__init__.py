"""The contracts of starts and samplers: where structures come from.

A new start or sampler is one file in this package (or an entry point in the group
`athanor.sample`).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms

from athanor.component import Component, discover
from athanor.potentials import Potential
from athanor.query import Grade, Query
from athanor.structure import FloatArray

Stop = Literal["completed", "grade", "distance", "temperature", "nan"]


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one run of a sampler brought home.

    Attributes
    ----------
    structures : candidates for labelling, geometry only.
    grades : one per candidate.
    reasons : one per candidate, a phrase for people ("grade 12.3 > halt 10 at 0.35 ps, 812 K").
    steps, planned : steps done and steps the full schedule has.
    stopped_by : completed, or what halted the run.
    trace : name -> (n_records,) arrays for plots: time_fs, temperature_K, target_K, grade,
        energy_eV.
    """

    structures: tuple[Atoms, ...]
    grades: tuple[Grade, ...]
    reasons: tuple[str, ...]
    steps: int
    planned: int
    stopped_by: Stop
    trace: dict[str, FloatArray] = field(default_factory=dict)


class StartConfig(Component):
    """The recipe of starting structures; it is the [start] section of a campaign file."""

    def check(self) -> None:
        """Raise ConfigError where something it names is not there; asked before a label is paid."""

    @abstractmethod
    def structures(self, count: int, rng: np.random.Generator) -> list[Atoms]:
        """Draw `count` structures, geometry only."""

    def part(self, number: int, rng: np.random.Generator) -> list[Atoms]:
        """Structures that trajectory `number` runs from, counted from 0 through all cycles.

        One drawn structure, unless a kind goes through a list of them.
        """
        return self.structures(1, rng)


class SamplerConfig(Component):
    """The recipe of a sampler; it is the [sample] section of a campaign file."""

    def check(self) -> None:
        """Raise ConfigError where something it names is not there; asked before a label is paid."""

    @abstractmethod
    def run(
        self, start: Atoms, potential: Potential, query: Query, *, seed: int, workdir: Path
    ) -> Harvest:
        """Run once from `start`; deterministic for a given seed."""


def start_kinds() -> dict[str, type[StartConfig]]:
    """Every kind of start there is, by name."""
    return discover("athanor.sample", StartConfig)


def sampler_kinds() -> dict[str, type[SamplerConfig]]:
    """Every kind of sampler there is, by name."""
    return discover("athanor.sample", SamplerConfig)
