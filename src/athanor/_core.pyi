from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Float = NDArray[np.float64]
_Int = NDArray[np.int32]
_Real = NDArray[np.float32] | NDArray[np.float64]

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

class Aev:
    @staticmethod
    def make(
        *,
        n_species: int,
        radial_cutoff: float,
        angular_cutoff: float,
        eta_r: float,
        shf_r: _Float,
        eta_a: float,
        zeta: float,
        shf_a: _Float,
        shf_z: _Float,
    ) -> Aev: ...
    @property
    def length(self) -> int: ...
    def values(
        self,
        positions: _Float,
        types: _Int,
        offsets: NDArray[np.int64],
        cells: _Float,
        periodic: NDArray[np.bool_],
        *,
        threads: int = 1,
        double: bool = False,
        isa: str = "auto",
    ) -> _Real: ...
    def vjp(
        self,
        positions: _Float,
        types: _Int,
        offsets: NDArray[np.int64],
        cells: _Float,
        periodic: NDArray[np.bool_],
        adjoints: _Real,
        *,
        threads: int = 1,
        isa: str = "auto",
    ) -> tuple[_Float, _Float]: ...
    def jvp(
        self,
        positions: _Float,
        types: _Int,
        offsets: NDArray[np.int64],
        cells: _Float,
        periodic: NDArray[np.bool_],
        velocities: _Float,
        strains: _Float,
        *,
        threads: int = 1,
        double: bool = False,
        isa: str = "auto",
    ) -> _Real: ...

class Ani:
    @staticmethod
    def make(
        aev: Aev,
        weights: Sequence[Sequence[NDArray[np.float32]]],
        biases: Sequence[Sequence[NDArray[np.float32]]],
        *,
        alpha: float,
        scale: float,
        offsets: _Float,
        double: bool = False,
    ) -> Ani: ...
    @property
    def n_members(self) -> int: ...
    def evaluate(
        self,
        positions: _Float,
        types: _Int,
        cell: _Float,
        periodic: NDArray[np.bool_],
        *,
        forces: bool = True,
        each: bool = False,
        features: bool = False,
        threads: int = 1,
        isa: str = "auto",
        skin: SkinList | None = None,
    ) -> tuple[_Float, _Float, _Float, float, _Float, _Float]: ...
