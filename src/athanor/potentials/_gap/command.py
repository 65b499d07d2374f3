"""The command line of gap_fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ase.data import atomic_numbers

from athanor.potentials._gap.settings import Compression, GapSettings
from athanor.potentials._gap.training_set import Pair

TRAINING_FILE, MODEL_FILE = "training.xyz", "gap.xml"
# exponents of the correlation kept between radial channels and between species
# (Darby, Kermode, Csányi 2022, doi 10.1038/s41524-022-00847-y, eq. 13)
_KEPT: dict[Compression, str] = {
    "none": "",
    "radial": " nu_R=1",
    "radial_species": " nu_R=1 nu_S=1",
}
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Terms:
    """How many sparse points each term gets: SOAP by element, the pair term by two elements."""

    soap: Mapping[str, int]
    pair: Mapping[Pair, int]

    @classmethod
    def of(
        cls, settings: GapSettings, atoms: Mapping[str, int], pairs: Mapping[Pair, int]
    ) -> Terms:
        """At most what the data hold: no more points than environments, no term without pairs."""
        return cls(
            {symbol: min(settings.n_sparse, count) for symbol, count in atoms.items()},
            {two: min(settings.pair_n_sparse, count) for two, count in pairs.items() if count},
        )

    @property
    def size(self) -> int:
        """Parameters of the model."""
        return sum(self.soap.values()) + sum(self.pair.values())

    def lowered(self, settings: GapSettings) -> str:
        """In words, where the data allow fewer points than wanted; else nothing."""
        fewer = [
            f"{symbol} has {count} environments, so as many sparse points instead of "
            f"{settings.n_sparse}"
            for symbol, count in self.soap.items()
            if count < settings.n_sparse
        ]
        return "; ".join(fewer)


def arguments(
    settings: GapSettings, terms: Terms, offsets: Mapping[str, float], *, seed: int
) -> list[str]:
    """What gap_fit is called with, in the folder that holds the training file."""
    species = tuple(sorted(terms.soap))
    parts = [_pair_term(settings, two, count) for two, count in sorted(terms.pair.items())]
    parts += [_soap_term(settings, one, species, terms.soap[one]) for one in species]
    sigmas = (settings.sigma_energy, settings.sigma_force, settings.sigma_virial, 0.0)
    e0 = ":".join(f"{symbol}:{offsets[symbol]!r}" for symbol in species)
    return [
        f"at_file={TRAINING_FILE}",
        f"gap={{{' : '.join(parts)}}}",
        f"default_sigma={{{' '.join(map(repr, sigmas))}}}",
        f"e0={{{e0}}}",
        f"sparse_jitter={settings.sparse_jitter!r}",
        "do_copy_at_file=F",
        "sparse_separate_file=F",
        f"gp_file={MODEL_FILE}",
        # below 1 it would take the clock
        f"rnd_seed={seed % _LARGEST_SEED + 1}",
    ]


def _pair_term(settings: GapSettings, two: Pair, n_sparse: int) -> str:
    first, second = (atomic_numbers[symbol] for symbol in two)
    return (
        f"distance_2b cutoff={settings.pair_cutoff!r} "
        f"cutoff_transition_width={settings.pair_transition_width!r} "
        f"Z1={first} Z2={second} delta={settings.pair_delta!r} "
        f"theta_uniform={settings.pair_theta!r} covariance_type=ard_se "
        f"n_sparse={n_sparse} sparse_method=uniform add_species=F"
    )


def _soap_term(settings: GapSettings, centre: str, species: tuple[str, ...], n_sparse: int) -> str:
    numbers = " ".join(str(atomic_numbers[symbol]) for symbol in species)
    return (
        f"soap cutoff={settings.cutoff!r} "
        f"cutoff_transition_width={settings.transition_width!r} "
        f"atom_sigma={settings.atom_sigma!r} n_max={settings.n_max} l_max={settings.l_max} "
        f"Z={atomic_numbers[centre]} n_Z=1 n_species={len(species)} species_Z={{{{{numbers}}}}}"
        f"{_KEPT[settings.compression]} delta={settings.soap_delta!r} "
        f"covariance_type=dot_product zeta={settings.zeta!r} "
        f"n_sparse={n_sparse} sparse_method={settings.sparse_method} add_species=F"
    )
