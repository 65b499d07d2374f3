from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Float = NDArray[np.float64]
_Int = NDArray[np.int32]

class StructureFault(ValueError): ...

def instruction_sets() -> list[str]: ...
def all_pairs(
    positions: _Float, cell: _Float, periodic: NDArray[np.bool_], cutoff: float
) -> tuple[_Int, _Int, _Float]: ...

class SkinList:
    def __init__(self, skin: float) -> None: ...
    @property
    def builds(self) -> int: ...

class Mtp:
    @staticmethod
    def make(
        *,
        basic: _Int,
        times: _Int,
        mapping: _Int,
        n_moments: int,
        min_dist: float,
        max_dist: float,
        scaling: float,
        radial: _Float,
        species_coeffs: _Float,
        moment_coeffs: _Float,
        core_numbers: Sequence[int],
    ) -> Mtp: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def n_products(self) -> int: ...
    def evaluate(
        self,
        positions: _Float,
        types: _Int,
        cell: _Float,
        periodic: NDArray[np.bool_],
        *,
        forces: bool = True,
        features: bool = False,
        summed: bool = False,
        threads: int = 1,
        isa: str = "auto",
        skin: SkinList | None = None,
    ) -> tuple[float, _Float, _Float, float, _Float, _Float]: ...
    @staticmethod
    def evaluate_together(
        programs: Sequence[Mtp],
        positions: _Float,
        types: _Int,
        cell: _Float,
        periodic: NDArray[np.bool_],
        *,
        forces: bool = True,
        features: bool = False,
        summed: bool = False,
        threads: int = 1,
        isa: str = "auto",
        skin: SkinList | None = None,
    ) -> list[tuple[float, _Float, _Float, float, _Float, _Float]]: ...
    def design(
        self,
        positions: _Float,
        types: _Int,
        cell: _Float,
        periodic: NDArray[np.bool_],
        *,
        radial: bool = True,
        isa: str = "auto",
    ) -> tuple[_Float, _Float, _Float]: ...
    def design_many(
        self,
        positions: _Float,
        types: _Int,
        offsets: NDArray[np.int64],
        cells: _Float,
        periodic: NDArray[np.bool_],
        weights: _Float,
        *,
        radial: bool = True,
        threads: int = 1,
        isa: str = "auto",
    ) -> _Float: ...
