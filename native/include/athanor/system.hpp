// One structure as the kernels see it: flat arrays, no ownership.
#pragma once

#include <cstdint>

namespace athanor {

struct System {
    int n_atoms = 0;
    const double* positions = nullptr; // (n_atoms, 3), Å, anywhere relative to the cell
    const std::int32_t* types = nullptr; // (n_atoms,), species index
    double cell[9] = {}; // rows are the cell vectors, Å; rows of non-periodic directions are ignored
    bool periodic[3] = {};
};

} // namespace athanor
