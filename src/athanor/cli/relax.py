"""The verb relax: many structures at once, graded on the way, resumable."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from ase import Atoms
from ase.units import GPa

from athanor.cli.distances import shortest
from athanor.cli.files import (
    Opened,
    OutOption,
    PotentialArgument,
    SpeciesOption,
    blame,
    open_potential,
    parse_species,
    structures_of,
)
from athanor.cli.judges import query_of
from athanor.cli.progress import counted, progress
from athanor.cli.relaxed import Places, Summary, write
from athanor.errors import ConfigError
from athanor.loading import STATES
from athanor.potentials import check_elements

if TYPE_CHECKING:
    from athanor.campaign.relaxations import Relaxations
    from athanor.query import Query
    from athanor.sample._landscape import Cell
    from athanor.sample.relax import RelaxOptions

MOST_GPA = 100000
"""No potential here means anything beyond; the centre of the Sun has ten million."""
ATOMS_PER_WORKER = 4000
"""To start a process takes longer than to relax this many."""
SHOWN = 5
"""Failures that are told one by one."""
WORDS = {
    "converged": "converged",
    "grade": "halted by grade",
    "min_dist": "halted by distance",
    "steps": "given up",
    "stuck": "stuck",
    "failed": "failed",
}
"""How a relaxation can end, for people."""

StructuresArgument = Annotated[Path, typer.Argument(metavar="STRUCTURES")]
FmaxOption = Annotated[float, typer.Option("--fmax", help="Largest force left, eV/Å.")]
SmaxOption = Annotated[
    float, typer.Option("--smax-GPa", help="With --cell: largest stress component left.")
]
StepsOption = Annotated[int, typer.Option("--steps", min=1, help="Give up after this many.")]
MaxStepOption = Annotated[
    float, typer.Option("--max-step", help="Longest move of an atom in one step, Å.")
]
CellOption = Annotated[bool, typer.Option("--cell", help="Relax the cell as well.")]
HydrostaticOption = Annotated[
    bool, typer.Option("--hydrostatic", help="With --cell: keep its shape.")
]
VolumeOption = Annotated[
    bool, typer.Option("--cell-fixed-volume", help="With --cell: keep its volume.")
]
PressureOption = Annotated[
    float, typer.Option("--pressure-GPa", help="Outer pressure; needs --cell.")
]
MinDistOption = Annotated[
    float, typer.Option("--min-dist", help="Stop where atoms come nearer than this, Å.")
]
MinDistShareOption = Annotated[
    float,
    typer.Option(
        "--min-dist-share", help="The same, as a share of the shortest distance in --training."
    ),
]
TrainingOption = Annotated[
    Path | None,
    typer.Option(
        "--training",
        help="Training set, or MLIP's state: grade every step on the way. All steps of a graded "
        "relaxation are kept in memory until it ends.",
    ),
]
SaveOption = Annotated[
    float | None,
    typer.Option("--save", help="Grade from which a structure on the way becomes a candidate."),
]
HaltOption = Annotated[
    float | None, typer.Option("--halt", help="Grade from which a relaxation is stopped.")
]
UnrelaxedOption = Annotated[
    Path | None,
    typer.Option("--unrelaxed", help="File for those that did not converge, instead of --out."),
]
CandidatesOption = Annotated[
    Path | None,
    typer.Option("--candidates", help="File for candidates; default: beside --out."),
]
TrajectoriesOption = Annotated[
    Path | None,
    typer.Option(
        "--trajectories", help="Folder for the way of those halted; default: beside --out."
    ),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; default: all cores that pay.")
]


def relax(
    potential: PotentialArgument,
    structures: StructuresArgument,
    *,
    out: OutOption,
    fmax: FmaxOption = 0.01,
    smax: SmaxOption = 0.1,
    steps: StepsOption = 500,
    max_step: MaxStepOption = 0.2,
    cell: CellOption = False,
    hydrostatic: HydrostaticOption = False,
    fixed_volume: VolumeOption = False,
    pressure: PressureOption = 0.0,
    min_dist: MinDistOption = 0.0,
    min_dist_share: MinDistShareOption = 0.0,
    training: TrainingOption = None,
    save: SaveOption = None,
    halt: HaltOption = None,
    unrelaxed: UnrelaxedOption = None,
    candidates: CandidatesOption = None,
    trajectories: TrajectoriesOption = None,
    workers: WorkersOption = None,
    species: SpeciesOption = None,
) -> None:
    """Relax structures on all cores (info keys converged, stopped_by, steps, fmax, ...).

    Every structure is kept as it ends: the same line carries on after a kill. With --training, the
    info key grade is the highest met on the way, structures above --save are put aside as
    candidates, and a relaxation ends at the structure whose grade exceeds --halt; its way there is
    kept. Exit code 1 when a structure failed; all others are written.
    """
    asked = Asked(
        *(fmax, smax, steps, max_step, cell, hydrostatic, fixed_volume, pressure),
        *(min_dist, min_dist_share, save, halt),
    )
    asked.check(training, candidates, trajectories)
    places = _places(out, unrelaxed, candidates, trajectories, graded=training is not None)
    places.check()
    opened = open_potential(potential, species=parse_species(species))
    found = structures_of(structures, species=opened.species)
    _check_structures(structures, found, opened, cell=cell)
    summary = _carried_out(
        asked, places, opened, found, sources=(potential, structures, training), workers=workers
    )
    _tell(summary, asked, places, source=structures)
    if summary.failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that decide the results, as they were given."""

    fmax: float
    smax_GPa: float
    steps: int
    max_step: float
    cell: bool
    hydrostatic: bool
    cell_fixed_volume: bool
    pressure_GPa: float
    min_dist: float
    min_dist_share: float
    save: float | None
    halt: float | None

    def check(
        self, training: Path | None, candidates: Path | None, trajectories: Path | None
    ) -> None:
        """Raise ConfigError for a number out of range, or an option that has no effect."""
        for name, value, unit in (
            ("--fmax", self.fmax, "eV/Å"),
            ("--smax-GPa", self.smax_GPa, "GPa"),
            ("--max-step", self.max_step, "Å"),
        ):
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} {value}: it must be positive and finite, in {unit}")
        for name, value in (("dist", self.min_dist), ("dist-share", self.min_dist_share)):
            if not 0 <= value < math.inf:
                raise ConfigError(f"--min-{name} {value}: give 0 or a positive number")
        if not abs(self.pressure_GPa) <= MOST_GPA:
            raise ConfigError(
                f"--pressure-GPa {self.pressure_GPa}: give a number from -{MOST_GPA} to {MOST_GPA}"
            )
        self._check_cell()
        if training is None:
            self._check_ungraded(candidates, trajectories)
        elif self.min_dist_share and training.suffix in STATES:
            raise ConfigError(
                f"{training} is a state, without structures to take --min-dist-share of; "
                "give --min-dist in Å"
            )

    def _check_cell(self) -> None:
        if not self.cell:
            for name, given in (
                ("--pressure-GPa", self.pressure_GPa),
                ("--hydrostatic", self.hydrostatic),
                ("--cell-fixed-volume", self.cell_fixed_volume),
            ):
                if given:
                    raise ConfigError(f"{name} acts on the cell: give --cell as well")
        if self.cell_fixed_volume and self.hydrostatic:
            raise ConfigError(
                "--hydrostatic keeps the shape and --cell-fixed-volume the volume, which leaves "
                "nothing to relax of the cell; give one of them, or leave --cell out"
            )
        if self.cell_fixed_volume and self.pressure_GPa:
            raise ConfigError(
                "--pressure-GPa does nothing at a fixed volume; leave it or --cell-fixed-volume out"
            )

    def _check_ungraded(self, candidates: Path | None, trajectories: Path | None) -> None:
        for name, given in (
            ("--save", self.save is not None),
            ("--halt", self.halt is not None),
            ("--min-dist-share", self.min_dist_share > 0),
            ("--candidates", candidates is not None),
            ("--trajectories", trajectories is not None),
        ):
            if given:
                raise ConfigError(f"{name} needs a training set: give --training as well")

    def options(self, shortest: float, *, graded: bool) -> RelaxOptions:
        """As the relaxation wants them; `shortest` is the shortest distance of the training set."""
        from athanor.sample.relax import RelaxOptions

        kept: Cell = "free" if self.cell else "fixed"
        if self.hydrostatic:
            kept = "hydrostatic"
        elif self.cell_fixed_volume:
            kept = "volume"
        share = self.min_dist_share * shortest if self.min_dist_share else 0.0
        return RelaxOptions(
            fmax=self.fmax,
            smax=self.smax_GPa * GPa,
            steps=self.steps,
            max_step=self.max_step,
            cell=kept,
            pressure=self.pressure_GPa * GPa,
            min_distance=max(self.min_dist, share),
            capacity=self.steps + 1,
            path=graded,
        )


def _places(
    out: Path,
    unrelaxed: Path | None,
    candidates: Path | None,
    trajectories: Path | None,
    *,
    graded: bool,
) -> Places:
    if not graded:
        return Places(out, unrelaxed, None, None)
    return Places(
        out,
        unrelaxed,
        candidates or out.with_name(f"{out.stem}.candidates{out.suffix}"),
        trajectories or out.with_name(f"{out.stem}.halted"),
    )


def _check_structures(path: Path, found: Sequence[Atoms], opened: Opened, *, cell: bool) -> None:
    """Raise for what no relaxation could make good, before any has begun."""
    blame(path, found, lambda batch: check_elements(batch[0], opened.potential.elements))
    for index, atoms in enumerate(found):
        if cell and not atoms.pbc.all():
            raise ConfigError(
                f"{path}, frame {index}: the structure {atoms.get_chemical_formula()} is not "
                "periodic in all three directions, so it has no cell to relax; leave --cell or "
                "that structure out"
            )


def _carried_out(
    asked: Asked,
    places: Places,
    opened: Opened,
    found: Sequence[Atoms],
    *,
    sources: tuple[Path, Path, Path | None],
    workers: int | None,
) -> Summary:
    """Relax what has not been relaxed by an earlier run of the same line, and write all of it."""
    from athanor.campaign.lock import only_writer
    from athanor.campaign.relaxations import Relaxations

    line = _line(asked, opened, sources)
    training = sources[2]
    query, shortest = None, 0.0
    if training is not None:
        query = query_of(opened, training, save=asked.save, halt=asked.halt)
        shortest = _shortest(training, opened) if asked.min_dist_share else 0.0
    with only_writer(places.part):
        done = Relaxations(places.part, line)
        if 0 < len(done) < len(found):
            print(f"carrying on: {len(done)} of {len(found)} have ended already")
        options = asked.options(shortest, graded=query is not None)
        _relax_all(done, found, opened, query, options=options, workers=workers)
        return write(places, done, len(found), species=opened.species)


def _line(asked: Asked, opened: Opened, sources: tuple[Path, Path, Path | None]) -> dict[str, str]:
    """What decides the results."""
    from athanor import __version__
    from athanor.campaign.relaxations import fingerprint

    names = ("potential", "file of structures", "training set")
    files = {
        name: "none" if path is None else fingerprint(path)
        for name, path in zip(names, sources, strict=True)
    }
    options = {f"--{name.replace('_', '-')}": str(value) for name, value in asdict(asked).items()}
    order = "none" if opened.species is None else ",".join(opened.species)
    return {**files, **options, "--species": order, "version of athanor": __version__}


def _shortest(training: Path, opened: Opened) -> float:
    """Shortest distance of two atoms in the training set, Å; 0 where none are neighbours."""
    known = structures_of(training, species=opened.species)
    each = [length for atoms in known for length in shortest(atoms).values()]
    return min(each, default=0.0)


def _relax_all(
    done: Relaxations,
    found: Sequence[Atoms],
    opened: Opened,
    query: Query | None,
    *,
    options: RelaxOptions,
    workers: int | None,
) -> None:
    ends: Counter[str] = Counter()
    if workers is None:
        cores = len(os.sched_getaffinity(0))
        workers = min(cores, math.ceil(sum(map(len, found)) / ATOMS_PER_WORKER))
    left = len(found) - len(done)
    with progress("relaxing", total=left, found=lambda: _counts(ends)) as advance:
        for one in done.run(found, opened.potential, query, options=options, workers=workers):
            ends[one.info["stopped_by"]] += 1
            advance(1)


def _counts(ends: Counter[str]) -> str:
    """In words how relaxations ended."""
    return ", ".join(f"{ends[end]} {said}" for end, said in WORDS.items() if ends[end])


def _tell(summary: Summary, asked: Asked, places: Places, *, source: Path) -> None:
    to = f"{asked.fmax:g} eV/Å" + (f" and {asked.smax_GPa:g} GPa" if asked.cell else "")
    total = sum(summary.ends.values())
    others = _counts(summary.ends - Counter(converged=summary.ends["converged"]))
    print(
        f"{summary.ends['converged']} of {total} relaxed to {to}"
        f"{f', {others}' if others else ''}, written to {places.out}"
        f"{f' and {places.unrelaxed}' if places.unrelaxed else ''}"
    )
    if places.candidates is not None:
        print(f"{counted(summary.candidates, 'candidate')} for labels in {places.candidates}")
    if summary.trajectories and places.trajectories is not None:
        ways = counted(summary.trajectories, "relaxation")
        print(f"the way of {ways} that did not end well in {places.trajectories}")
    for index, error in summary.failed[:SHOWN]:
        print(f"athanor: {source}, frame {index} failed: {error}", file=sys.stderr)
    if len(summary.failed) > SHOWN:
        more = len(summary.failed) - SHOWN
        print(f"athanor: and {more} more; their info key error says why", file=sys.stderr)
