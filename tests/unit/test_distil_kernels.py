"""Similarity as artefacts of a distillation: names in errors, and chunks that are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes
from athanor.distil import kernels
from athanor.distil.pooled import CHUNK
from athanor.errors import StructureError
from athanor.query.clustering import ClusteringConfig
from athanor.structure import FloatArray

SMALL = ClusteringConfig(cutoff=4.0, n_max=2, l_max=2, basis="gto")


@pytest.mark.parametrize("average", ["fingerprint", "pairs"])
def test_errors_call_structures_by_their_names(average: str, tmp_path: Path) -> None:
    whole = bulk("Si", cubic=True)
    whole.positions += np.random.default_rng(5).normal(scale=0.05, size=whole.positions.shape)
    broken = whole.copy()
    broken.positions[1] = np.inf
    config = SMALL.model_copy(update={"average": average})
    names = ["frame 60", "frame 61"]
    with pytest.raises(StructureError, match=r"^frame 61: the position of atom 1"):
        kernels.describe(tmp_path, [whole, broken], config, species=("Si",), names=names)
    size = len(whole)
    common = {"size": size, "config": config, "spectra": None, "slope": 1.0}
    for first, second, name in (([whole], [broken], "b"), ([broken], [whole], "a")):
        with pytest.raises(StructureError, match=rf"^{name}: the position of atom 1"):
            kernels.apart(tmp_path, first, second, names=(["a"], ["b"]), **common)
    assert not list(tmp_path.iterdir()), "nothing is half-written"


def chunks_of(spectra: list[FloatArray], folder: Path) -> list[Path]:
    """As `describe` keeps them."""
    found = []
    for first in range(0, len(spectra), CHUNK):
        piece = spectra[first : first + CHUNK]
        part = folder / str(first)
        part.mkdir()
        sizes = np.array([len(one) for one in piece], dtype=np.int64)
        arrays = {"atoms": np.concatenate(piece), "sizes": sizes}
        write_file(part / kernels.FINGERPRINTS, npz_bytes(arrays))
        found.append(part)
    return found


def test_only_chunks_that_hold_what_is_asked_for_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(8)
    spectra = [rng.random((int(size), 3)) for size in rng.integers(1, 6, 4 * CHUNK + 3)]
    folders = chunks_of(spectra, tmp_path)
    read: list[int] = []
    real = kernels.read_npz

    def watched(path: Path) -> dict[str, FloatArray]:
        read.append(int(path.parent.name))
        return real(path)

    monkeypatch.setattr(kernels, "read_npz", watched)
    ranges = [sorted(rng.choice(len(spectra) + 1, 2, replace=False)) for _ in range(20)]
    for first, last in [*ranges, (CHUNK, 2 * CHUNK), (0, len(spectra))]:
        read.clear()
        found = kernels.spectra_of(folders, int(first), int(last))
        assert len(found) == last - first
        for mine, expected in zip(found, spectra[first:last], strict=True):
            assert np.array_equal(mine, expected)
        assert read == [
            start
            for start in range(0, len(spectra), CHUNK)
            if first < start + CHUNK and start < last
        ]
