// What the kernels of every instruction set offer, one declaration for each.
#pragma once

#include "aev_scratch.hpp"

namespace athanor {

// Adjoints (n_rhs, ., length) by atom and where their products go.
template <typename T> struct AevAdjoints {
    int n_rhs;
    const T* rows; // of atom i and adjoint m: rows + m * block + i * row
    std::size_t block, row;
    bool by_place; // i is the atom's place in the block instead
    double* gradient; // (n_rhs, n_atoms, 4): d/dr
    double* strain; // (n_rhs, 9)
};

template <typename T> struct AevVelocities {
    int n_rhs;
    const double* velocities; // of atom i and product m: velocities + m * stride + 3 i
    std::size_t stride;
    const double* strains; // of product m: strains + m * strain_stride
    std::size_t strain_stride;
    T* rates; // of atom i and product m: rates + m * block + i * length
    std::size_t block;
};

// All return 0 when done, or the neighbours to make room for when there is too little; nothing is
// written then.
#define ATHANOR_AEV_KERNELS(T)                                                                    \
    std::size_t aev_values(const AevBlock&, AevScratch<T>&, T* values);                           \
    std::size_t aev_vjp(const AevBlock&, AevScratch<T>&, const AevAdjoints<T>&);                  \
    std::size_t aev_jvp(const AevBlock&, AevScratch<T>&, const AevVelocities<T>&);

namespace plain { ATHANOR_AEV_KERNELS(float) ATHANOR_AEV_KERNELS(double) }
namespace avx2 { ATHANOR_AEV_KERNELS(float) ATHANOR_AEV_KERNELS(double) }
namespace avx512 { ATHANOR_AEV_KERNELS(float) ATHANOR_AEV_KERNELS(double) }

} // namespace athanor
