"""The pool as an artefact: structures, the labels there are, and what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from athanor.campaign.harvests import FILE as STRUCTURES
from athanor.campaign.harvests import write_drawn
from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes, pack_frames, read_npz, unpack_frames, unpack_structures
from athanor.pool import Pool
from athanor.query._clusters.spectral import IntArray
from athanor.query._similarity.memory import blocks, spectra_bytes
from athanor.query._similarity.soap import species_of
from athanor.query.clustering import ClusteringConfig
from athanor.structure import FloatArray, Frame, structure_id

CHUNK = 20
"""Structures whose fingerprints are one task."""
BLOCKS = 4
"""At least so many blocks of distances, so that pairs of them are enough tasks to share."""
LABELS = "labels.npz"
ABOUT = "about.npz"


@dataclass(frozen=True, slots=True)
class Pooled:
    """A pool that was read back.

    Attributes
    ----------
    frames : number in the pool -> frame, of those with labels.
    structures : all of them.
    eligible, held_out : numbers of the structures that may be chosen, and of those kept apart.
    groups : one name per structure; None where the file has none.
    origins : one phrase per structure.
    """

    structures: list[Any]
    frames: dict[int, Frame]
    eligible: IntArray
    held_out: IntArray
    groups: list[str] | None
    origins: list[str]

    @property
    def energies(self) -> FloatArray | None:
        """eV/atom of the eligible structures; None unless all have labels."""
        if any(int(i) not in self.frames for i in self.eligible):
            return None
        return np.array(
            [
                self.frames[int(i)].labels.energy / len(self.structures[int(i)])
                for i in self.eligible
            ]
        )


def write_pool(
    folder: Path, pool: Pool, config: ClusteringConfig, *, held_out: float
) -> dict[str, Any]:
    """Keep a pool in an artefact; what planning needs of it."""
    labelled = [i for i, labels in enumerate(pool.labels) if labels is not None]
    frames = [
        Frame(pool.structures[i], labels, level=pool.level, origin=pool.origins[i])
        for i in labelled
        if (labels := pool.labels[i]) is not None
    ]
    names = [structure_id(atoms) for atoms in pool.structures]
    apart = _held_out(names, labelled, held_out)
    eligible = [i for i in range(len(pool)) if i not in apart]
    about = {
        "labelled": np.array(labelled, dtype=np.int64),
        "eligible": np.array(eligible, dtype=np.int64),
        "held_out": np.array(sorted(apart), dtype=np.int64),
        "groups": np.array(pool.groups or [], dtype=np.str_),
        "origins": np.array(pool.origins, dtype=np.str_),
    }
    write_drawn(folder, pool.structures)
    write_file(folder / LABELS, npz_bytes(pack_frames(frames)))
    write_file(folder / ABOUT, npz_bytes(about))
    sizes = [len(atoms) for atoms in pool.structures]
    offered = [names[i] for i in eligible]
    species = species_of(pool.structures)
    return {
        "n": len(pool),
        "atoms": sum(sizes),
        "largest": max(sizes),
        "species": list(species),
        "level": pool.level,
        "digest": _digest((folder / name).read_bytes() for name in (STRUCTURES, LABELS, ABOUT)),
        "eligible": eligible,
        "held_out": sorted(apart),
        "unlabelled": sorted(set(eligible) - set(labelled)),
        "groups": sorted(set(pool.groups)) if pool.groups else None,
        "notes": list(pool.notes),
        "blocks": _blocks(len(offered), max(sizes), len(species), config),
        "chunks": [list(one) for one in _chunks(offered)],
    }


def read_pool(folder: Path) -> Pooled:
    """Read what `write_pool` wrote; FormatError when it is not whole."""
    about = read_npz(folder / ABOUT)
    frames = unpack_frames(read_npz(folder / LABELS))
    groups = [str(one) for one in about["groups"]]
    return Pooled(
        structures=unpack_structures(read_npz(folder / STRUCTURES)),
        frames=dict(zip(map(int, about["labelled"]), frames, strict=True)),
        eligible=about["eligible"],
        held_out=about["held_out"],
        groups=groups or None,
        origins=[str(one) for one in about["origins"]],
    )


def _held_out(names: list[str], labelled: list[int], fraction: float) -> set[int]:
    """A share of the labelled structures, drawn by their own identities: no seed changes it."""
    count = round(fraction * len(labelled))
    if count >= len(labelled) - 1:
        count = max(0, len(labelled) - 2)
    return set(sorted(labelled, key=lambda i: names[i][-16:])[:count])


def _blocks(count: int, largest: int, n_species: int, config: ClusteringConfig) -> list[list[int]]:
    """[first, last) of each block of distances."""
    spectra = spectra_bytes(config, largest, n_species)
    ranges = blocks(count, largest, ordering=config.coulomb, least=BLOCKS, spectra=spectra)
    return [[one.start, one.stop] for one in ranges]


def _chunks(names: list[str]) -> Iterator[tuple[int, int, str]]:
    """(first, last, digest) of pieces of a list of structures, named by what is in them."""
    for first in range(0, len(names), CHUNK):
        piece = names[first : first + CHUNK]
        yield first, first + len(piece), _digest(name.encode() for name in piece)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:32]
