"""Errors on reference-labelled frames of dynamics the potential never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from pydantic import AfterValidator, Field

from athanor.data.metrics import errors
from athanor.structure import FloatArray, Frame, Labels
from athanor.validate import PropertyConfig, PropertyResult, Quantity
from athanor.validate._dynamics import HeldOutRun, Trajectory, calculated, drive
from athanor.validate._lattice import check_element, equilibrium

SHOWN = 2000
"""Points of a parity plot; more only make the page heavy."""


class HeldOut(PropertyConfig):
    """Energy and force errors along crystal and melt dynamics.

    Driven by the reference (the default), the frames do not depend on the potential: they are
    written into the working folder and used again. Driven by the potential, they are what a user
    will meet, and each costs one reference label; whether each trajectory survives is judged too.

    The default 200 frames of 108 atoms are 2,600 steps: some 30 s with ASE's EMT on one core.
    """

    kind: Literal["heldout"] = "heldout"
    element: Annotated[str, AfterValidator(check_element)]
    runs: tuple[HeldOutRun, ...] = Field(
        default=(
            HeldOutRun(structure="fcc", temperature_K=600.0),
            HeldOutRun(structure="melt", temperature_K=1500.0),
        ),
        min_length=1,
    )
    driver: Literal["reference", "potential"] = "reference"
    volume: float | None = Field(
        default=None, gt=0, description="Å³ per atom at scale 1; the reference's own if not given"
    )
    energy_tolerance_meV: float = Field(default=5.0, gt=0, description="RMSE per atom")
    force_tolerance_meV: float = Field(default=120.0, gt=0, description="RMSE, meV/Å")

    def measure(
        self, potential: Calculator, reference: Calculator, *, seed: int, workdir: Path
    ) -> PropertyResult:
        """Run (or read) the trajectories and compare; deterministic for a given seed.

        Raises ConfigError where no volume is given and the reference has none of lowest energy.
        """
        driver = reference if self.driver == "reference" else potential
        trajectories = []
        for number, run in enumerate(self.runs):
            volume = self.volume
            if volume is None:
                volume = equilibrium(self.element, run.lattice, reference).volume
            start = run.start(self.element, volume)
            kept = workdir if self.driver == "reference" else None
            trajectories.append(drive(run, start, driver, seed=[seed, number], cache=kept))
        compared = [_Compared(t, potential, reference, self.driver) for t in trajectories]
        return self._result(compared)

    def _result(self, compared: list[_Compared]) -> PropertyResult:
        quantities: list[Quantity] = []
        notes = [note for one in compared for note in one.notes]
        for one in compared:
            quantities += self._errors(f"{one.name}: ", [one], judged=False)
            if self.driver == "potential":
                quantities.append(_survival(one))
        quantities += self._errors("", compared, judged=True)
        if not any(one.frames for one in compared):
            quantities.append(Quantity("frames", 0.0, "", passed=False))
            notes.append("No frame could be compared.")
        return PropertyResult(
            kind="heldout",
            title=f"Held-out frames of {self.element} dynamics",
            quantities=tuple(quantities),
            curves=_parity(compared),
            notes=tuple(notes),
        )

    def _errors(self, prefix: str, compared: list[_Compared], *, judged: bool) -> list[Quantity]:
        predicted = [labels for one in compared for labels in one.predicted]
        if not predicted:
            return []
        table = errors(predicted, [labels for one in compared for labels in one.true])
        found = (
            ("energy RMSE", table.energy, "meV/atom", self.energy_tolerance_meV),
            ("force RMSE", table.forces, "meV/Å", self.force_tolerance_meV),
        )
        quantities = [Quantity(f"{prefix}frames", float(len(predicted)), "")]
        for name, error, unit, tolerance in found:
            rmse = 1000 * error.rmse
            passed = rmse <= tolerance if judged else None
            quantities.append(Quantity(f"{prefix}{name}", rmse, unit, passed=passed, is_error=True))
        return quantities


class _Compared:
    """One trajectory with the labels of both; frames that either cannot label are left out."""

    def __init__(
        self, trajectory: Trajectory, potential: Calculator, reference: Calculator, driver: str
    ) -> None:
        self.name = trajectory.name
        self.trajectory = trajectory
        other = potential if driver == "reference" else reference
        given = [(frame, calculated(frame.atoms, other)) for frame in trajectory.frames]
        whole = [(frame, labels) for frame, labels in given if labels is not None]
        self.frames: list[Frame] = [frame for frame, _ in whole]
        labels = [labels for _, labels in whole]
        own = [frame.labels for frame in self.frames]
        self.predicted, self.true = (labels, own) if driver == "reference" else (own, labels)
        self.notes: list[str] = []
        if trajectory.stopped:
            self.notes.append(f"{self.name}: {trajectory.stopped}.")
        if len(whole) < len(given):
            self.notes.append(
                f"{self.name}: {len(given) - len(whole)} of {len(given)} frames got no finite "
                "labels and are left out."
            )

    def energies(self, labels: list[Labels]) -> FloatArray:
        """eV per atom, (n_frames,)."""
        pairs = zip(labels, self.frames, strict=True)
        return np.array([one.energy / len(frame.atoms) for one, frame in pairs], dtype=np.float64)


def _forces(labels: list[Labels]) -> FloatArray:
    return np.concatenate([np.zeros(0), *(one.forces.ravel() for one in labels)])


def _survival(one: _Compared) -> Quantity:
    done = one.trajectory.steps / one.trajectory.planned
    name = f"{one.name}: schedule survived"
    return Quantity(name, 100 * done, "%", 100.0, passed=not one.trajectory.stopped)


def _parity(compared: list[_Compared]) -> dict[str, Any]:
    """Reference and potential values of at most 2,000 points each, evenly thinned."""
    curves: dict[str, Any] = {}
    for one in compared:
        for name, true, mine in (
            ("energy", one.energies(one.true), one.energies(one.predicted)),
            ("force", _forces(one.true), _forces(one.predicted)),
        ):
            step = max(1, -(-len(true) * len(compared) // SHOWN))
            curves[f"{name}, {one.name}"] = {
                "quantity": name,
                "unit": "eV/atom" if name == "energy" else "eV/Å",
                "reference": true[::step].tolist(),
                "potential": mine[::step].tolist(),
            }
    return curves
