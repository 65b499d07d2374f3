// Memory of one thread of the kernels, allocated once per call, and the work of one block.
#pragma once

#include "athanor/mtp.hpp"

namespace athanor {

struct Scratch {
    std::size_t room = 0; // neighbours an atom may have
    std::size_t slots = 0; // neighbour slots a block may have
    double *moments = nullptr, *adjoints = nullptr; // (n_moments, lanes)
    double* row = nullptr; // (n_species, n_radial, n_chebyshev, lanes): dE_i/dc without scaling
    double* found = nullptr; // (3, room) of one search, then (lanes, 3, room)
    std::int32_t* points = nullptr; // (lanes, room)
    double* slot = nullptr; // (slots, slot_size, lanes)
    double* basis = nullptr; // (slots, n_chebyshev, lanes): Q_q, kept for features
    std::int32_t *slot_atom = nullptr, *slot_type = nullptr; // (slots, lanes), (slots,)
};

// What one block of atoms (all of one species) adds to; forces may be null.
struct BlockTarget {
    double energy = 0;
    double virial[9] = {};
    double* forces = nullptr;
    double* site_energies = nullptr;
    double* features = nullptr;
    double* feature_sum = nullptr;
    int fault[2] = {-1, -1}; // two atoms that coincide
};

struct Block {
    const MtpProgram* program;
    const System* system;
    const Grid* grid;
    const std::int32_t* atoms;
    int count; // at most `lanes`
};

// Vectors kept per neighbour slot: d (3), u (3), 1/r, core slope, f_mu, f'_mu.
inline std::size_t slot_size(int n_radial) { return 8 + 2 * static_cast<std::size_t>(n_radial); }
constexpr int unroll_forward = 4, unroll_backward = 2;

// Universal screened nuclear repulsion (Ziegler, Biersack, Littmark 1985), eV, faded out smoothly at
// `reach`; returns the energy and writes its slope.
double core_repulsion(int first, int second, double r, double reach, double& slope);

// Each returns 0 when done, or the number of neighbours an atom has when scratch.room is too small.
namespace plain { std::size_t run_block(const Block&, Scratch&, BlockTarget&); }
namespace avx2 { std::size_t run_block(const Block&, Scratch&, BlockTarget&); }
namespace avx512 { std::size_t run_block(const Block&, Scratch&, BlockTarget&); }

} // namespace athanor
