"""The immutable store, and writing that survives a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from athanor.data.durable import make_folder, write_file
from athanor.data.packing import npz_bytes, pack_structures, read_npz, unpack_structures
from athanor.data.store import EMPTY, Store
from athanor.errors import FolderError, FormatError, LabelError, StructureError
from athanor.structure import Frame, Labels, structure_id


def frames(rng: np.random.Generator, count: int, *, level: str = "pbe") -> list[Frame]:
    """Random frames of any size and periodicity; only those periodic throughout have stress."""
    drawn = []
    for number in range(count):
        n = int(rng.integers(1, 6))
        atoms = Atoms(
            numbers=rng.integers(1, 90, n),
            positions=rng.normal(size=(n, 3)),
            cell=rng.normal(size=(3, 3)) + 4 * np.eye(3),
            pbc=rng.random(3) < 0.7,
        )
        stress = rng.normal(size=(3, 3)) if atoms.pbc.all() else None
        labels = Labels(float(rng.normal()), rng.normal(size=(n, 3)), stress)
        drawn.append(Frame(atoms, labels, level, f"cycle 1: grün {number}"))
    return drawn


def same(a: Frame, b: Frame) -> bool:
    """Whether two frames are equal to the last bit."""
    stresses = [a.labels.stress, b.labels.stress]
    return (
        structure_id(a.atoms) == structure_id(b.atoms)
        and a.labels.energy == b.labels.energy
        and a.labels.forces.tobytes() == b.labels.forces.tobytes()
        and ((None in stresses and stresses == [None, None]) if any(s is None for s in stresses)
             else np.array_equal(stresses[0], stresses[1]))
        and (a.level, a.origin) == (b.level, b.origin)
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_shards_give_every_bit_back(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    store = Store(tmp_path / "store")
    parts = [frames(rng, int(rng.integers(1, 5))) for _ in range(3)]
    names = [store.add(part) for part in parts]
    snapshot = store.snapshot(names)
    assert store.shards(snapshot) == tuple(names)
    found = store.dataset(snapshot)
    kept = [frame for part in parts for frame in part]
    assert len(found) == len(kept)
    assert all(same(a, b) for a, b in zip(found, kept, strict=True))


def test_same_frames_same_bytes(tmp_path: Path) -> None:
    part = frames(np.random.default_rng(3), 4)
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    names = {one.add(part), one.add(part), two.add(part)}
    assert len(names) == 1
    files = [next(store.folder.glob("*.npz")).read_bytes() for store in (one, two)]
    assert files[0] == files[1]
    assert one.add(part[::-1]) not in names


def test_nothing_is_a_snapshot(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.snapshot([]) == EMPTY
    assert len(Store(tmp_path / "absent").dataset(EMPTY)) == 0


def test_mixed_levels_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    store = Store(tmp_path)
    one, two = frames(rng, 1, level="pbe"), frames(rng, 1, level="scan")
    with pytest.raises(LabelError, match=r"different levels of theory \('pbe', 'scan'\)"):
        store.add([*one, *two])
    snapshot = store.snapshot([store.add(one), store.add(two)])
    with pytest.raises(LabelError, match="levels of theory"):
        store.dataset(snapshot)


def test_bad_frames_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (frame,) = frames(np.random.default_rng(1), 1)
    bad = Labels(float("nan"), frame.labels.forces, None)
    with pytest.raises(LabelError, match="the new shard, frame 0: the energy is nan"):
        store.add([Frame(frame.atoms, bad)])
    frame.atoms.positions[0, 0] = np.inf
    with pytest.raises(StructureError, match="not finite"):
        store.add([frame])
    assert not store.folder.exists()


@pytest.mark.parametrize("seed", range(5))
def test_damage_is_found(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    store = Store(tmp_path)
    name = store.add(frames(rng, 3))
    snapshot = store.snapshot([name])
    path = tmp_path / f"{name}.npz"
    data = bytearray(path.read_bytes())
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    with pytest.raises(FormatError, match="does not match its name"):
        store.dataset(snapshot)
    path.unlink()
    with pytest.raises(FormatError, match="the store lacks this file"):
        store.dataset(snapshot)
    with pytest.raises(FormatError, match="the store lacks this file"):
        store.shards("0" * 32)


def test_foreign_content_under_a_true_name(tmp_path: Path) -> None:
    """The bytes fit the name but are no shard, no snapshot."""
    import hashlib

    store = Store(tmp_path)
    for data in (b"hello", npz_bytes({"offsets": np.arange(3)})):
        name = hashlib.sha256(data).hexdigest()[:32]
        (tmp_path / f"{name}.npz").write_bytes(data)
        with pytest.raises(FormatError, match="not a "):
            store.shard(name)
    for data in (b"hello", b"[]", b"{}"):
        name = hashlib.sha256(data).hexdigest()[:32]
        (tmp_path / f"{name}.json").write_bytes(data)
        with pytest.raises(FormatError, match="not a snapshot"):
            store.shards(name)


def test_pickles_in_npz_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FormatError, match="not a whole npz file"):
        read_npz(path)


def test_no_structures_pack_and_unpack() -> None:
    assert unpack_structures(pack_structures([])) == []


@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_left_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    rng = np.random.default_rng(4)
    store = Store(tmp_path / "store")
    old = store.snapshot([store.add(frames(rng, 2))])
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if call == "fsync":
            patch.setattr(os, "fsync", full)
        elif call == "rename":
            patch.setattr(Path, "rename", full)
        else:
            patch.setattr(Path, "open", full)
        with pytest.raises(FolderError, match="no space left") as caught:
            store.add(frames(rng, 2))
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before
    assert len(store.dataset(old)) == 2


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="cannot be written"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(FolderError, match="cannot be written"):
        write_file(tmp_path / "absent" / "file", b"data")
