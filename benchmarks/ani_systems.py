"""What the ANI benchmarks measure on: liquid aluminium, an ensemble, torchani beside us."""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.data import atomic_masses
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import FIRE
from vesin import ase_neighbor_list

from athanor import _core
from athanor.data.durable import make_folder, write_file
from athanor.potentials._ani.model import CELU_ALPHA, AevSpec, AniModel, Network
from athanor.potentials._ani.neurochem import info_of, read_neurochem
from athanor.sample.disorder import GRAM_PER_CM3, placed

MEMBERS, LAYERS = 8, (96, 96, 96, 64, 1)
DENSITY = 2.375
"""g/cm³; liquid aluminium at its melting point (Assael et al. 2006)."""
KEEP_PAGES = {f"MALLOC_{name}_": str(1 << 40) for name in ("MMAP_THRESHOLD", "TRIM_THRESHOLD")}
WORKER = Path(__file__).with_name("ani_torchani.py")

Row = dict[str, Any]
Took = tuple[float, float]
"""Processor and wall seconds of one call."""


def liquid(n_atoms: int, *, seed: int = 1, temperature: float = 1200.0) -> Atoms:
    """A cubic cell of liquid aluminium, by dynamics of ASE's EMT from random places."""
    rng = np.random.default_rng(seed)
    edge = (n_atoms * atomic_masses[13] / (DENSITY * GRAM_PER_CM3)) ** (1 / 3)
    places = placed(n_atoms, np.full(3, edge), min_distance=2.0, rng=rng)
    atoms = Atoms(f"Al{n_atoms}", positions=places, cell=[edge] * 3, pbc=True)
    atoms.calc = EMT(asap_cutoff=True)
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0, steps=30)
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        atoms,
        2 * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(200)
    atoms.calc = None
    return atoms


def counted(atoms: Atoms, spec: AevSpec) -> dict[str, int]:
    """Directed pairs within the radial cutoff, unordered triples within the angular."""
    pairs = len(ase_neighbor_list("i", atoms, spec.radial_cutoff)[0])
    near = ase_neighbor_list("i", atoms, spec.angular_cutoff)[0]
    counts = np.bincount(near, minlength=len(atoms))
    return {"pairs": pairs, "triples": int((counts * (counts - 1) // 2).sum())}


def published_spec() -> AevSpec:
    """The environment vector of ANI-Al (Smith et al. 2021, supplement 1.1)."""
    return AevSpec(
        species=("Al",),
        radial_cutoff=7.0,
        angular_cutoff=5.0,
        eta_r=43.9,
        shf_r=tuple(1.25 + 5.75 / 32 * np.arange(32)),
        eta_a=6.5,
        zeta=69.4,
        shf_a=tuple(1.25 + 3.75 / 8 * np.arange(8)),
        shf_z=tuple(np.pi / 16 * (2 * np.arange(8) + 1)),
    )


def random_model(*, seed: int = 0) -> AniModel:
    """Eight random networks of the published sizes."""
    rng = np.random.default_rng(seed)
    widths = (published_spec().length, *LAYERS[1:])
    weights, biases = [], []
    for n_in, n_out in itertools.pairwise(widths):
        shape = (MEMBERS, n_out, n_in)
        weights.append(rng.normal(0, n_in**-0.5, shape).astype(np.float32))
        biases.append(rng.normal(0, 0.1, shape[:2]).astype(np.float32))
    network = Network(tuple(weights), tuple(biases))
    return AniModel(published_spec(), (network,), np.zeros((MEMBERS, 1)), 1.0)


def model_of(published: Path | None) -> AniModel:
    """ANI-Al from its folder in NeuroChem's format, or random networks of the same sizes."""
    if published is None:
        return random_model()
    info = info_of(published)
    if info is None:
        raise SystemExit(f"{published}: give the folder with the .info file, or that file")
    return read_neurochem(info)


def tables(model: AniModel) -> dict[str, np.ndarray]:
    """A model of one species as the arrays that the worker reads."""
    spec, network = model.aev, model.networks[0]
    names = ("radial_cutoff", "angular_cutoff", "eta_r", "shf_r", "eta_a", "zeta", "shf_a", "shf_z")
    found = {name: np.asarray(getattr(spec, name)) for name in names}
    for layer, (weights, biases) in enumerate(zip(network.weights, network.biases, strict=True)):
        found[f"weights_{layer}"], found[f"biases_{layer}"] = weights, biases
    return {**found, "scale": np.asarray(model.scale), "offsets": model.offsets}


def core_aev(spec: AevSpec) -> _core.Aev:
    return _core.Aev.make(
        n_species=len(spec.species),
        radial_cutoff=spec.radial_cutoff,
        angular_cutoff=spec.angular_cutoff,
        eta_r=spec.eta_r,
        shf_r=np.array(spec.shf_r),
        eta_a=spec.eta_a,
        zeta=spec.zeta,
        shf_a=np.array(spec.shf_a),
        shf_z=np.array(spec.shf_z),
    )


def core_ani(model: AniModel, *, double: bool) -> _core.Ani:
    return _core.Ani.make(
        core_aev(model.aev),
        [network.weights for network in model.networks],
        [network.biases for network in model.networks],
        alpha=CELU_ALPHA,
        scale=model.scale,
        offsets=model.offsets,
        double=double,
    )


class Torchani:
    """The worker, ani_torchani.py under another Python, kept between requests.

    keep_pages : glibc is told to keep memory that torch frees, which it otherwise gives back to the
        system and gets anew, page by page, for every large tensor of every call.
    """

    def __init__(
        self, python: Path, model: AniModel, folder: Path, *, keep_pages: bool = False
    ) -> None:
        self._folder = folder
        np.savez(folder / "model.npz", **tables(model))
        self._process = subprocess.Popen(
            [str(python), str(WORKER), str(folder / "model.npz")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(KEEP_PAGES if keep_pages else {})},
        )
        self.about = self._read()

    def ask(self, system: str, *, out: str | None = None, **request: object) -> Row:
        """Send one request about a system that was `put`; its answer with what it took."""
        request["system"] = str(self._folder / f"{system}.npz")
        request["out"] = None if out is None else str(self._folder / f"{out}.npz")
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def put(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        np.savez(self._folder / f"{name}.npz", **arrays)  # type: ignore[arg-type] # names are free

    def get(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self._folder / f"{name}.npz") as file:
            return dict(file)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _read(self) -> Row:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("torchani's worker ended; its message is above")
        found: Row = json.loads(line)
        return found


def took(call: Callable[[], object]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def peak(call: Callable[[], object]) -> int:
    """Bytes of memory that a call takes at most beyond what was held before it (Linux)."""
    # forgets the largest resident size so far
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _resident("VmRSS")
    call()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith(name))
    return 1024 * int(found.split()[1])


def in_turn(calls: Mapping[str, Callable[[], Took]], rounds: int) -> dict[str, Row]:
    """Call each once a round, one after the other; the first round warms up and does not count."""
    found: dict[str, list[Took]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            seconds = call()
            if number:
                found[name].append(seconds)
    return {name: summary(rows) for name, rows in found.items()}


def summary(rows: list[Took]) -> Row:
    """Median and extremes of processor seconds, the best of wall seconds, and each round."""
    cpu, wall = np.array(rows).T
    return {
        "cpu_s": float(np.median(cpu)),
        "cpu_least_s": float(cpu.min()),
        "cpu_most_s": float(cpu.max()),
        "wall_least_s": float(wall.min()),
        "rounds_cpu_s": cpu.tolist(),
    }


def ratio(theirs: Row, ours: Row) -> Row:
    """How many times faster we are, round by round: median, least and most."""
    by_round = np.array(theirs["rounds_cpu_s"]) / np.array(ours["rounds_cpu_s"])
    return {
        "median": float(np.median(by_round)),
        "least": float(by_round.min()),
        "most": float(by_round.max()),
    }


def machine() -> Row:
    names = ("numpy", "ase")
    return {
        "processor": processor(),
        "instructions": _core.instruction_sets(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def processor() -> str:
    """The processor's name, family and model, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    parts = (told.get("model name"), told.get("cpu family"), told.get("model"), told.get("cpu MHz"))
    return "{} (family {}, model {}) at {} MHz".format(*parts)


class Record:
    """The output file: results by name, written whole after each; what it has is kept."""

    def __init__(self, path: Path, **settings: object) -> None:
        self._path = path
        self.parts: Row = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.parts.setdefault("machine", machine())
        self.parts.setdefault("settings", settings)

    def add(self, name: str, part: Callable[[], object]) -> None:
        """Measure `part` unless it is there; print it."""
        if name not in self.parts:
            self.parts[name] = part()
            make_folder(self._path.parent)
            write_file(self._path, (json.dumps(self.parts, indent=1) + "\n").encode())
        print(name, json.dumps(self.parts[name]), flush=True)
