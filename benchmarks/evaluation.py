"""Energy + forces + stress against motep's C engine, same machine, same run, one thread; besides
the arithmetic floor, the cost against the number of atoms, and a step of dynamics.

    python benchmarks/evaluation.py [--out FILE]

Neighbour lists are included on both sides; times are the best of several calls, in microseconds per
atom, and the ratio is what counts. Coefficients are random: the arithmetic does not depend on them.
A level that is in the output file already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from motep.calculator import MTP
from motep.io.mlip.mtp import read_mtp
from threadpoolctl import threadpool_limits

from athanor import _core
from athanor.potentials import SKIN
from athanor.potentials._mtp.basis import basis
from athanor.potentials._mtp.model import MtpModel
from athanor.potentials.mtp import MomentTensorPotential
from athanor.sample._trial import DirectCalculator

LEVELS = (8, 12, 16, 20, 24, 28)
CUTOFF = {"Mo": 5.2, "Al": 5.0}


def cell(symbol: str, repeats: int) -> Atoms:
    """A rattled cubic crystal: bcc Mo or fcc Al."""
    atoms = bulk(symbol, cubic=True).repeat(repeats)
    atoms.rattle(0.1, seed=1)
    return atoms


def random_potential(symbol: str, level: int) -> MomentTensorPotential:
    rng = np.random.default_rng(level)
    tables = basis(level)
    model = MtpModel(
        species=(symbol,),
        tables=tables,
        min_dist=1.9,
        max_dist=CUTOFF[symbol],
        scaling=0.05,
        radial=rng.normal(size=(1, 1, tables.n_radial, 8)),
        species_coeffs=np.zeros(1),
        moment_coeffs=0.01 * rng.normal(size=len(tables.mapping)),
    )
    return MomentTensorPotential(model, core=False)


def best(call: Callable[[], object], *, seconds: float) -> float:
    """Shortest of at least three calls within about `seconds`."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def motep_call(path: Path, atoms: Atoms) -> Callable[[], object]:
    data = read_mtp(path)
    data.species = [int(atoms.numbers[0])]
    calculator = MTP(data, engine="cext")

    def call() -> object:
        calculator.results = {}
        calculator.atoms = None
        calculator.calculate(atoms)
        return calculator.results["stress"]

    return call


def measure(symbol: str, level: int) -> dict[str, object]:
    atoms = cell(symbol, 8 if symbol == "Mo" else 7)
    potential = random_potential(symbol, level)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.mtp"
        potential.to_mlip(path)
        theirs = motep_call(path, atoms)
        check = abs(potential.predict([atoms])[0].energy - _energy(path, atoms)) / len(atoms)
        per_atom = 1e6 / len(atoms)
        row: dict[str, object] = {
            "symbol": symbol,
            "level": level,
            "atoms": len(atoms),
            "energy_difference_eV_per_atom": check,
            "motep_us": per_atom * best(theirs, seconds=2),
            "athanor_us": per_atom * best(lambda: potential.predict([atoms]), seconds=2),
        }
    row["times_faster"] = row["motep_us"] / row["athanor_us"]  # type: ignore[operator] # floats
    arguments = (atoms.positions, np.zeros(len(atoms), np.int32), atoms.cell.array, atoms.pbc)
    for isa in _core.instruction_sets():
        row[f"athanor_{isa}_us"] = per_atom * best(
            lambda isa=isa: potential._program.evaluate(*arguments, isa=isa), seconds=1
        )
    row["two_threads_us"] = per_atom * best(
        lambda: potential._program.evaluate(*arguments, threads=2), seconds=1
    )
    row["with_features_us"] = per_atom * best(
        lambda: potential._program.evaluate(*arguments, features=True), seconds=1
    )
    row["with_summed_features_us"] = per_atom * best(
        lambda: potential._program.evaluate(*arguments, summed=True), seconds=1
    )
    kept = _core.SkinList(SKIN)
    row["kept_list_us"] = per_atom * best(
        lambda: potential._program.evaluate(*arguments, skin=kept), seconds=1
    )
    eight = [random_potential(symbol, level)._program for _ in range(8)]
    row["eight_together_us"] = per_atom * best(
        lambda: _core.Mtp.evaluate_together(eight, *arguments), seconds=1
    )
    return row


def _energy(path: Path, atoms: Atoms) -> float:
    data = read_mtp(path)
    data.species = [int(atoms.numbers[0])]
    calculator = MTP(data, engine="cext")
    calculator.calculate(atoms)
    return float(calculator.results["energy"])


def scaling(symbol: str = "Mo", level: int = 12) -> list[dict[str, float]]:
    """Cost per atom against the number of atoms."""
    potential = random_potential(symbol, level)
    rows = []
    for repeats in (4, 5, 8, 12, 20, 30, 37):
        atoms = cell(symbol, repeats)
        took = best(lambda atoms=atoms: potential.predict([atoms]), seconds=1)
        rows.append({"atoms": len(atoms), "us_per_atom": 1e6 * took / len(atoms)})
    return rows


def floor() -> dict[str, float]:
    """Level 16 on Mo against the arithmetic that the published moments need, 58.6 kflop an atom.

    The peak of the core is that of a matrix product by BLAS. The list alone is the energy of a
    level-2 potential: everything up to and including one radial function.
    """
    a = np.random.default_rng(0).normal(size=(1500, 1500))
    with threadpool_limits(limits=1):
        peak = 2 * len(a) ** 3 / best(lambda: a @ a, seconds=2)
    atoms = cell("Mo", 8)
    arguments = (atoms.positions, np.zeros(len(atoms), np.int32), atoms.cell.array, atoms.pbc)
    kept, per_atom = _core.SkinList(SKIN), 1e6 / len(atoms)
    lowest, potential = random_potential("Mo", 2)._program, random_potential("Mo", 16)._program
    return {
        "peak_Gflop_per_s": peak / 1e9,
        "floor_us": 58.6e3 / peak * 1e6,
        "level_16_us": per_atom * best(lambda: potential.evaluate(*arguments), seconds=2),
        "level_16_kept_list_us": per_atom
        * best(lambda: potential.evaluate(*arguments, skin=kept), seconds=2),
        "level_2_energy_us": per_atom
        * best(lambda: lowest.evaluate(*arguments, forces=False), seconds=2),
    }


def dynamics() -> dict[str, float]:
    """A 64-atom cell at level 10 in ASE's Langevin: µs a step of the potential and of the loop."""
    atoms = bulk("Mo", cubic=True).repeat((4, 4, 2))
    atoms.rattle(0.05, seed=1)
    potential = random_potential("Mo", 10)
    calls: list[float] = []

    class Timed:
        def __init__(self) -> None:
            self.following = potential.follow()

        def predict(self, structures: list[Atoms], *, stress: bool = True) -> list[object]:
            begin = time.perf_counter()
            found = self.following.predict(structures, stress=stress)
            calls.append(time.perf_counter() - begin)
            return found

    atoms.calc = DirectCalculator(Timed())  # type: ignore[arg-type] # predict is all it asks for
    rng = np.random.default_rng(1)
    # random coefficients: the crystal is held together by short steps and strong friction
    integrator = Langevin(atoms, 0.1 * units.fs, temperature_K=50, friction=0.5, rng=rng)
    begin = time.perf_counter()
    integrator.run(1000)
    total = (time.perf_counter() - begin) / 1000
    called = float(np.median(calls))
    return {"potential_us": 1e6 * called, "loop_us": 1e6 * (total - sum(calls) / 1000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/evaluation.json"))
    out = parser.parse_args().out
    record = json.loads(out.read_text()) if out.exists() else {}
    record.setdefault("machine", platform.processor() or platform.machine())
    record.setdefault("versions", {name: version(name) for name in ("numpy", "motep", "athanor")})
    rows = record.setdefault("rows", [])
    done = {(row["symbol"], row["level"]) for row in rows}
    for symbol in CUTOFF:
        for level in LEVELS:
            if (symbol, level) in done:
                continue
            rows.append(measure(symbol, level))
            _write(out, record)
            print(json.dumps(rows[-1]))
    for name, part in (("scaling", scaling), ("floor", floor), ("dynamics", dynamics)):
        if name not in record:
            record[name] = part()
            _write(out, record)
            print(json.dumps(record[name]))


def _write(out: Path, record: dict[str, object]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.rename(out)


if __name__ == "__main__":
    main()
