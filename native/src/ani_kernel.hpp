// What the kernels of every instruction set offer for ensembles, and their memory.
#pragma once

#include "aev_kernel.hpp"
#include "athanor/ani.hpp"

namespace athanor {

// Rows of a block of atoms; every row but those of `values` is padded to whole vectors.
template <typename T> struct AniScratch {
    T* values; // (aev_block, length)
    T* adjoints; // (k, aev_block, padded length)
    T* states; // (hidden layers, aev_block, widest)
    T *delta, *other; // (aev_block, widest)
};

struct AniTarget {
    bool each;
    double* energies; // (n_members,), added to
    double* forces; // (k, n_atoms, 4): dE/dr, added to; null: not wanted
    double* virial; // (k, 9), added to
    double *site_energies, *features; // as in AniResult
};

// Atoms of a block all have one species. 0 when done, or the neighbours to make room for. `aev_list`
// leaves the points within `reach` of each atom in scratch.points.
#define ATHANOR_ANI_KERNELS(T)                                                                              \
    std::size_t ani_block(const AniProgram<T>&, const AevBlock&, AevScratch<T>&, const AniScratch<T>&,      \
                          const AniTarget&);                                                                \
    std::size_t aev_list(const AevBlock&, AevScratch<T>&, double reach);

namespace plain { ATHANOR_ANI_KERNELS(float) ATHANOR_ANI_KERNELS(double) }
namespace avx2 { ATHANOR_ANI_KERNELS(float) ATHANOR_ANI_KERNELS(double) }
namespace avx512 { ATHANOR_ANI_KERNELS(float) ATHANOR_ANI_KERNELS(double) }

} // namespace athanor
