"""What a run of the benchmark is made of, all from a few numbers on the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from athanor.potentials.ani import AniConfig

CYCLES = 10
"""Turns of the campaign that a budget of labels is divided into."""
INITIAL = 1 / 5
"""Share of the labels that goes to random disordered cells (the paper: 400 of 6,352). With fewer
than some fifty, trajectories end before their first step and ask for such cells anyhow."""
HEATED = 300 / 550
"""Share of the fcc/melt set that comes from heating and cooling; the rest is liquid."""
MEAN_DENSITY = 0.0653
"""Atoms per Å³ at 2.9 g/cm³, the middle of the paper's range."""
L0 = 0.3
"""Weight of forces against energies per atom; the paper's 0.01 is for energies of whole cells and
some thousand labels, and converges badly on a few hundred."""
US_PER_ATOM_STEP = 25.0
"""Of dynamics with eight networks, one core; measured by ani_evaluation.py."""
US_PER_ATOM_EPOCH = 115.0
"""Of training eight networks, one core; measured by ani_training.py."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Numbers that decide about the result; a folder belongs to one set of them.

    Attributes
    ----------
    labels : that the campaign may buy, those held out for testing included.
    held_out : share of both sets that no model is trained on.
    length_ps : of the campaign's trajectories; periods of the schedule are scaled with it.
    trajectories_per_label : how many the campaign starts for each label of a cycle.
    heating_ps : of the fcc trajectory, half of it heating.
    shortest, longest : edges of the campaign's cells, Å; the paper's hold 55-249 atoms.
    save, halt : of the committee's force_mean, eV/Å.
    members : of the ensembles.
    epochs, refit_epochs : of fits to 500 labels and more, and of the campaign's refits, which begin
        from the potential before; more for fewer labels, since an epoch then has few steps.
    seed : of everything.
    """

    labels: int = 1500
    held_out: float = 0.1
    length_ps: float = 10.0
    trajectories_per_label: float = 0.5
    heating_ps: float = 400.0
    shortest: float = 10.5
    longest: float = 17.0
    save: float = 0.03
    halt: float = 0.4
    members: int = 8
    epochs: int = 120
    refit_epochs: int = 40
    seed: int = 1

    @property
    def initial(self) -> int:
        """Random cells that are labelled first."""
        return max(8, round(INITIAL * self.labels))

    @property
    def per_cycle(self) -> int:
        """Labels of a cycle."""
        return max(1, -(-(self.labels - self.initial) // CYCLES))

    @property
    def trajectories(self) -> int:
        """Trajectories of a cycle."""
        return max(4, round(self.trajectories_per_label * self.per_cycle))

    def query(self) -> dict[str, Any]:
        """The committee that grades."""
        return {
            "kind": "committee",
            "measure": "force_mean",
            "save": self.save,
            "halt": self.halt,
        }

    def epochs_for(self, labels: int) -> int:
        """Of a fit from nothing to so many."""
        return round(self.epochs * _more(labels))

    @property
    def refits(self) -> int:
        """Epochs of a refit, by the labels there are in the middle of the campaign."""
        return round(self.refit_epochs * _more(round(0.6 * self.labels)))

    def recipe(self, labels: int) -> AniConfig:
        """The networks of the paper: one set of data for all, initial weights of their own."""
        return AniConfig(
            size=self.members,
            species=("Al",),
            resample="none",
            per_atom=True,
            l0=L0,
            max_epochs=self.epochs_for(labels),
            refit_epochs=self.refits,
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def forecast(self) -> dict[str, float]:
        """Hours of one core, at most, by part; trajectories end early while the model is poor."""
        atoms = MEAN_DENSITY * (0.5 * (self.shortest + self.longest)) ** 3
        step, epoch = 1e-6 * US_PER_ATOM_STEP / 3600, 1e-6 * US_PER_ATOM_EPOCH / 3600
        trained = round(self.labels * (1 - self.held_out))
        refits = self.refits * CYCLES * 0.6 * self.labels
        first = self.epochs_for(self.initial) * self.initial
        curve = sum(size * self.epochs_for(size) for size in curve_sizes(trained))
        sampled = CYCLES * self.trajectories * 1000 * self.length_ps
        # steps of 2 fs; 4 ps to melt and settle, and 0.4 between snapshots
        melted = 500 * (self.heating_ps + 100 + 0.4 * self.labels * (1 - HEATED))
        return {
            "campaign, dynamics": sampled * atoms * step,
            "campaign, fits": (first + refits) * atoms * epoch,
            "fcc/melt, dynamics": melted * 108 * step,
            "fits": (curve * atoms + trained * self.epochs_for(trained) * 108) * epoch,
        }


def _more(labels: int) -> float:
    return min(4.0, max(1.0, 500 / labels))


def curve_sizes(labels: int) -> tuple[int, ...]:
    """Numbers of labels of the learning curve: halved down to twenty or so, the whole last."""
    sizes = [labels]
    while sizes[0] >= 40:
        sizes.insert(0, sizes[0] // 2)
    return tuple(sizes)
