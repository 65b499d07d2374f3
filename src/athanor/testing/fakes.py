"""A potential and an oracle that cost nothing: for tests of campaigns, queries and samplers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field

from athanor.calculator import calculator
from athanor.data.dataset import Dataset
from athanor.errors import FitError, OracleError
from athanor.oracle import Oracle, OracleConfig
from athanor.potentials import HEADER, Potential, PotentialConfig, check_elements
from athanor.potentials._folder import new_folder
from athanor.potentials.lj import Pairs, find_pairs
from athanor.structure import FloatArray, Labels, bare, check_structure, structure_id


@dataclass(frozen=True)
class FakePotential:
    """E_i = 1/2 sum_j sum_k theta_k (1 - r_ij/rc)^(k + 3): linear in theta; all elements alike.

    Attributes
    ----------
    elements : chemical symbols it may be used for.
    cutoff : rc, Å.
    theta : coefficients, eV.
    """

    elements: frozenset[str]
    cutoff: float
    theta: tuple[float, ...]

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Energy, forces and stress of each structure; see `athanor.potentials.Potential`."""
        return [self._labels(atoms, stress) for atoms in structures]

    def features(self, structures: Sequence[Atoms]) -> list[FloatArray]:
        """(n_atoms, n_theta) per structure, dE_i/dtheta."""
        return [self._features(atoms) for atoms in structures]

    def save(self, folder: Path) -> None:
        """Write `potential.json` into a new folder."""
        header = {
            "kind": "fake",
            "version": 1,
            "elements": sorted(self.elements),
            "cutoff": self.cutoff,
            "theta": self.theta,
        }
        with new_folder(folder) as temporary:
            (temporary / HEADER).write_text(json.dumps(header), encoding="utf-8")

    def _labels(self, atoms: Atoms, stress: bool) -> Labels:
        pairs = self._pairs(atoms)
        _, pull = self._basis(pairs)
        virial = np.einsum("pka,pb,k->ab", pull, pairs.vector, self.theta)
        return Labels(
            energy=float(self._features(atoms).sum(axis=0) @ self.theta),
            forces=self._scattered(pairs, pull, len(atoms)) @ self.theta,
            stress=virial / atoms.cell.volume if stress and atoms.pbc.all() else None,
        )

    def _features(self, atoms: Atoms) -> FloatArray:
        pairs = self._pairs(atoms)
        value, _ = self._basis(pairs)
        table = np.zeros((len(atoms), len(self.theta)))
        np.add.at(table, pairs.i, 0.5 * value)
        np.add.at(table, pairs.j, 0.5 * value)
        return table

    def _pairs(self, atoms: Atoms) -> Pairs:
        check_structure(atoms)
        check_elements(atoms, self.elements)
        return find_pairs(atoms, self.cutoff)

    def _basis(self, pairs: Pairs) -> tuple[FloatArray, FloatArray]:
        """Basis values (n_pairs, n_theta) and their gradients by the pair vector (.., 3)."""
        powers = np.arange(len(self.theta)) + 3
        # a pair at the very cutoff may round to the wrong side of it
        left = np.maximum(1 - pairs.length / self.cutoff, 0.0)[:, None]
        slope = -powers / self.cutoff * left ** (powers - 1)
        return left**powers, slope[:, :, None] * (pairs.vector / pairs.length[:, None])[:, None, :]

    @staticmethod
    def _scattered(pairs: Pairs, pull: FloatArray, n_atoms: int) -> FloatArray:
        """Forces by parameter, (n_atoms, 3, n_theta)."""
        forces = np.zeros((n_atoms, 3, pull.shape[1]))
        np.add.at(forces, pairs.i, pull.transpose(0, 2, 1))
        np.subtract.at(forces, pairs.j, pull.transpose(0, 2, 1))
        return forces


class FakePotentialConfig(PotentialConfig):
    """Ridge regression of theta to energies per atom and forces: exact, instantaneous."""

    provides: ClassVar[frozenset[str]] = frozenset({"features"})

    kind: Literal["fake"] = "fake"
    cutoff: float = Field(default=5.0, gt=0.0, description="Å")
    size: int = Field(default=6, ge=1, description="number of coefficients")

    def fit(
        self,
        train: Dataset,
        valid: Dataset,
        *,
        seed: int,
        workdir: Path,
        start: Potential | None = None,
    ) -> FakePotential:
        """Solve; FitError without training data."""
        if len(train) == 0:
            raise FitError("the training set is empty; give at least one labelled structure")
        probe = FakePotential(train.elements | valid.elements, self.cutoff, (0.0,) * self.size)
        design, target = [], []
        for frame in train:
            pairs = find_pairs(frame.atoms, self.cutoff)
            forces = probe._scattered(pairs, probe._basis(pairs)[1], len(frame.atoms))
            energy = probe.features([frame.atoms])[0].mean(axis=0, keepdims=True)
            design.append(np.concatenate([energy, forces.reshape(-1, self.size)]))
            target.append(
                np.append(frame.labels.energy / len(frame.atoms), frame.labels.forces.ravel())
            )
        a, b = np.concatenate(design), np.concatenate(target)
        theta = np.linalg.solve(a.T @ a + 1e-8 * np.eye(self.size), a.T @ b)
        return FakePotential(probe.elements, self.cutoff, tuple(theta.tolist()))

    @classmethod
    def load(cls, folder: Path) -> FakePotential:
        """Read what `save` wrote."""
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        return FakePotential(
            frozenset(header["elements"]), float(header["cutoff"]), tuple(header["theta"])
        )

    @classmethod
    def example(cls, *, seed: int) -> FakePotential:
        """Random coefficients for three elements."""
        rng = np.random.default_rng(seed)
        theta = tuple(rng.normal(size=4).tolist())
        return FakePotential(frozenset({"Al", "Cu", "Mg"}), float(rng.uniform(4, 6)), theta)


@dataclass(frozen=True)
class FakeOracle:
    """Labels from a potential, with the troubles of real oracles at will.

    Attributes
    ----------
    teacher : the potential that labels.
    refuse : fraction of structures that can never be labelled, drawn from the geometry's id.
    log : file that gets one line, the structure's id, per call, also from many processes at once:
        what a campaign paid for.
    """

    teacher: Potential
    refuse: float = 0.0
    log: Path | None = None

    @property
    def level(self) -> str:
        # a set has no order of its own, and another one in every process
        return f"fake/{sorted(self.teacher.elements)}/{self.teacher.cutoff}"

    def label(self, atoms: Atoms, *, workdir: Path) -> Labels:
        """Label one structure; OracleError (retry=False) for the refused fraction."""
        name = structure_id(atoms)
        if self.log is not None:
            _append(self.log, name)
        if int(name[:13], 16) / 16**13 < self.refuse:
            raise OracleError(f"structure {name} is one of those this oracle refuses", retry=False)
        return self.teacher.predict([bare(atoms)])[0]

    def calculator(self, *, workdir: Path) -> Calculator:
        """The teacher as an ASE calculator; its calls are not logged."""
        return calculator(self.teacher)


class FakeOracleConfig(OracleConfig):
    """A `FakeOracle` whose teacher is the `FakePotential` example of `seed`."""

    kind: Literal["fake"] = "fake"
    seed: int = 0
    refuse: float = Field(default=0.0, ge=0.0, le=1.0)
    log: Path | None = None

    def build(self) -> Oracle:
        return FakeOracle(FakePotentialConfig.example(seed=self.seed), self.refuse, self.log)


def calls(log: Path) -> list[str]:
    """The structure ids a `FakeOracle` was asked to label, in order."""
    return log.read_text(encoding="ascii").split() if log.exists() else []


def _append(log: Path, line: str) -> None:
    """Append in one write, so that lines of several processes do not mix."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, f"{line}\n".encode("ascii"))
    finally:
        os.close(handle)
