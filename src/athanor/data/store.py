"""The immutable store: labelled frames in npz shards named by their content, and snapshots of them.

A shard never changes once it is there. A snapshot is a list of shard hashes, itself named by its
hash, so every training set there ever was can be rebuilt byte for byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from athanor.data.dataset import Dataset
from athanor.data.durable import make_folder, write_file
from athanor.data.packing import npz_bytes, pack_frames, read_npz, unpack_frames
from athanor.errors import FormatError, LabelError
from athanor.structure import Frame

EMPTY = hashlib.sha256(b'{"shards":[]}').hexdigest()[:32]
"""The name of the snapshot of nothing."""


@dataclass(frozen=True, slots=True)
class Store:
    """Shards and snapshots in one folder.

    Raises
    ------
    FolderError : it cannot be written (no space, no permission).
    FormatError : a shard or snapshot is absent, or not the bytes its name promises.
    LabelError : frames of different levels of theory would be mixed.
    """

    folder: Path

    def add(self, frames: Sequence[Frame]) -> str:
        """Write frames of one level of theory as a shard, return its hash; may be repeated."""
        dataset = Dataset.of(frames, where="the new shard")
        one_level(dataset)
        data = npz_bytes(pack_frames(dataset.frames))
        name = _hash(data)
        self._put(f"{name}.npz", data)
        return name

    def shard(self, name: str) -> list[Frame]:
        """Read the frames of one shard, after checking its bytes against its name."""
        path = self.folder / f"{name}.npz"
        data = _read(path, name)
        try:
            return unpack_frames(read_npz(path, data))
        except (KeyError, IndexError, ValueError) as error:
            raise FormatError(path, None, f"not a shard of labelled frames ({error})") from None

    def snapshot(self, shards: Sequence[str]) -> str:
        """Write the list of shards and return the snapshot's name."""
        data = json.dumps({"shards": list(shards)}, separators=(",", ":")).encode()
        name = _hash(data)
        self._put(f"{name}.json", data)
        return name

    def shards(self, snapshot: str) -> tuple[str, ...]:
        """The shard hashes of a snapshot, in order."""
        if snapshot == EMPTY:
            return ()
        path = self.folder / f"{snapshot}.json"
        data = _read(path, snapshot)
        try:
            return tuple(str(name) for name in json.loads(data)["shards"])
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(path, None, f"not a snapshot of athanor's ({error})") from None

    def dataset(self, snapshot: str) -> Dataset:
        """Rebuild the training set of a snapshot: the same frames in the same order, every bit."""
        frames = [frame for name in self.shards(snapshot) for frame in self.shard(name)]
        dataset = Dataset.of(frames, where=f"snapshot {snapshot}")
        one_level(dataset)
        return dataset

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        if path.exists() and path.read_bytes() == data:
            return
        make_folder(self.folder)
        write_file(path, data)


def one_level(dataset: Dataset) -> str:
    """The level of theory of all frames ('' for none); LabelError when there is more than one."""
    levels = sorted({frame.level for frame in dataset})
    if len(levels) > 1:
        raise LabelError(
            f"the frames come from different levels of theory ({', '.join(map(repr, levels))}), "
            "whose energies do not compare; train on one of them"
        )
    return levels[0] if levels else ""


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _read(path: Path, name: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(path, None, f"the store lacks this file ({error.strerror})") from None
    if _hash(data) != name:
        raise FormatError(
            path, None, "its content does not match its name: it was changed or damaged; restore it"
        )
    return data
