"""Similarity as artefacts: fingerprints, blocks of distances, and the two kernels put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes, read_npz
from athanor.distil.pooled import CHUNK
from athanor.query._similarity.coulomb import coulomb_distances
from athanor.query._similarity.kernels import (
    coulomb_kernel,
    first_equal,
    hybrid,
    normalised,
    pair_kernel,
    slope_of,
    soap_kernel,
    unified,
    zeta_of,
)
from athanor.query._similarity.soap import atom_fingerprints, fingerprints
from athanor.query.clustering import ClusteringConfig
from athanor.structure import FloatArray

FINGERPRINTS = "fingerprints.npz"
DISTANCES = "distances.npz"
SAMPLED = 500
"""Rows that a median is taken of."""
SOAP, COULOMB = "soap.npy", "coulomb.npy"


def describe(
    part: Path,
    structures: Sequence[Atoms],
    config: ClusteringConfig,
    *,
    species: Sequence[str],
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Keep the mean fingerprints of some structures, and those of their atoms where asked for.

    Errors call the structures by `names`, by default by their number among these.
    """
    arrays: dict[str, Any]
    if config.average == "pairs":
        atoms = atom_fingerprints(structures, config, species=species, names=names)
        arrays = {
            "rows": np.array([one.mean(axis=0) for one in atoms]),
            "atoms": np.concatenate(atoms),
            "sizes": np.array([len(one) for one in atoms], dtype=np.int64),
        }
    else:
        arrays = {"rows": fingerprints(structures, config, species=species, names=names)}
    write_file(part / FINGERPRINTS, npz_bytes(arrays))
    return {"structures": len(structures)}


def apart(
    part: Path,
    first: Sequence[Atoms],
    second: Sequence[Atoms],
    *,
    size: int,
    config: ClusteringConfig,
    spectra: tuple[list[FloatArray], list[FloatArray]] | None,
    slope: float,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Keep the Coulomb distances of a pair of blocks, and the SOAP kernel of pairs if asked for.

    Errors call the structures by `names`, of both blocks, by default by their number in the block.
    """
    found = coulomb_distances(first, second, size=size, ordering=config.coulomb, names=names)
    arrays = {"coulomb": found}
    if spectra is not None:
        arrays["pairs"] = pair_kernel(*spectra, config, slope=slope)
    write_file(part / DISTANCES, npz_bytes(arrays))
    return {"structures": [len(first), len(second)]}


def assemble(
    part: Path,
    described: Sequence[Path],
    distances: Sequence[tuple[int, int, Path]],
    ranges: Sequence[Sequence[int]],
    config: ClusteringConfig,
    *,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Put chunks and blocks together: the two normalised kernels, each a file of its own.

    Errors call the structures by `names`, by default by their number.
    """
    n = ranges[-1][1]
    whole = np.zeros((n, n))
    pairs = np.zeros((n, n)) if config.average == "pairs" else None
    for a, b, folder in distances:
        arrays = read_npz(folder / DISTANCES)
        rows, columns = slice(*ranges[a]), slice(*ranges[b])
        for matrix, name in ((whole, "coulomb"), (pairs, "pairs")):
            if matrix is not None:
                matrix[rows, columns] = arrays[name]
                matrix[columns, rows] = arrays[name].T
    spectra = np.concatenate([read_npz(folder / FINGERPRINTS)["rows"] for folder in described])
    if pairs is None:
        soap = soap_kernel(spectra, config, names=names)
        slope = config.slope or slope_of(np.einsum("ij,ij->i", spectra, spectra))
    else:
        soap = unified(normalised(pairs, names), first_equal(spectra))
        slope = atom_slope(config, described[0])
    zeta = config.zeta or zeta_of(whole)
    coulomb = coulomb_kernel(whole, zeta)
    for name, kernel in ((SOAP, soap), (COULOMB, coulomb)):
        np.save(part / name, kernel, allow_pickle=False)
    return {"n": n, "slope": slope, "zeta": zeta, "soap": _range(soap), "coulomb": _range(coulomb)}


def mixed(folder: Path, delta: float) -> FloatArray:
    """Eq. 11 of the kernels in an artefact."""
    soap = np.load(folder / SOAP, mmap_mode="r", allow_pickle=False)
    coulomb = np.load(folder / COULOMB, mmap_mode="r", allow_pickle=False)
    return hybrid(soap, coulomb, delta)


def spectra_of(folders: Sequence[Path], first: int, last: int) -> list[FloatArray]:
    """Power spectra by atom of structures first to last, out of the chunks that hold them."""
    found: list[FloatArray] = []
    skipped = first // CHUNK
    for folder in folders[skipped : -(-last // CHUNK)]:
        arrays = read_npz(folder / FINGERPRINTS)
        ends = np.cumsum(arrays["sizes"])
        found += np.split(arrays["atoms"], ends[:-1])
    return found[first - skipped * CHUNK : last - skipped * CHUNK]


def atom_slope(config: ClusteringConfig, folder: Path) -> float:
    """Slope of eq. 3 between atoms; by default from the first structures of the pool."""
    if config.slope is not None:
        return config.slope
    atoms = read_npz(folder / FINGERPRINTS)["atoms"]
    return slope_of(np.einsum("ij,ij->i", atoms, atoms))


def _range(kernel: FloatArray) -> Mapping[str, float]:
    """Least and (of some rows) median similarity, for people."""
    some = kernel[:: max(1, len(kernel) // SAMPLED)]
    return {"least": float(kernel.min()), "median": float(np.median(some))}
