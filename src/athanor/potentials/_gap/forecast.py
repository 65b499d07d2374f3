"""What a fit will take, said before its long part begins."""

from __future__ import annotations

from athanor.errors import FitError
from athanor.potentials._mtp.cost import share_of_memory


def check_memory(peak: int, *, memory_GB: float | None) -> None:
    """Raise FitError when gap_fit's own estimate exceeds what it may have, or what is free.

    Of several worker processes each may have its share.
    """
    how = "lower cutoff, n_max, l_max or the number of frames, or choose a stronger compression"
    if memory_GB is not None and peak > 1e9 * memory_GB:
        raise FitError(
            f"gap_fit needs {size(peak)} of memory and memory_GB = {memory_GB:g} allows less: {how}"
        )
    share = share_of_memory()
    if share is not None and peak > share.bytes:
        fewer = "" if share.workers == 1 else ", or give fewer [campaign] workers"
        raise FitError(f"gap_fit needs {size(peak)} of memory and {share.sentence()}: {how}{fewer}")


def size(n_bytes: float) -> str:
    """Bytes for people."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
