"""The contract of a pool: the trajectory that a distillation chooses its training set from.

A new kind is one file in this package (or an entry point in the group `athanor.pool`).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from athanor.component import Component, discover
from athanor.oracle import Oracle
from athanor.structure import Labels


@dataclass(frozen=True, slots=True)
class Pool:
    """Structures to choose from, checked, each of them once.

    Attributes
    ----------
    structures : geometry only; at least two.
    labels : one per structure, all at the level of theory `level`; None where the oracle is to be
        asked. Forces are NaN throughout where the file has only energies.
    groups : one per structure, the label that the file itself gives it (a plateau of temperature);
        None where it gives none.
    level : level of theory of the labels, and of those that the oracle adds.
    origins : one per structure, a phrase for people ("frame 17 of quench.extxyz").
    notes : sentences for people on what was found and done, such as duplicates left out.
    """

    structures: tuple[Atoms, ...]
    labels: tuple[Labels | None, ...]
    groups: tuple[str, ...] | None
    level: str
    origins: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.structures)

    @property
    def labelled(self) -> int:
        """How many structures have labels."""
        return sum(labels is not None for labels in self.labels)


class PoolConfig(Component):
    """The recipe of a pool; it is the [pool] section of a campaign file."""

    @property
    def needs_oracle(self) -> bool:
        """Whether there is no pool without an oracle."""
        return False

    def check(self) -> None:
        """Raise ConfigError where something it names is not there; asked before anything runs."""

    @abstractmethod
    def frames(self, *, oracle: Oracle | None, seed: int, workdir: Path) -> Pool:
        """Read or make the pool; deterministic for a given seed.

        What is long to make keeps its state in `workdir` and goes on from there, and tells its
        progress in the log there (see `athanor.potentials.FIT_LOG`).

        Raises ConfigError, FormatError, StructureError, LabelError, OracleError; one sentence that
        names the frame where it is one frame's doing.
        """


def kinds() -> dict[str, type[PoolConfig]]:
    """Every kind of pool there is, by name."""
    return discover("athanor.pool", PoolConfig)
