// Memory of one thread of the kernels, allocated once per call, and the work of one block.
#pragma once

#include "athanor/mtp.hpp"

namespace athanor {

struct Scratch {
    std::size_t room = 0; // neighbours an atom may have
    std::size_t slots = 0; // neighbour slots a block may have
    std::size_t slot_size = 0; // vectors in a slot: d (3), u (3), 1/r, core slope, (r - Rc)^2, f_mu, f'_mu
    double *moments = nullptr, *adjoints = nullptr; // (n_moments, lanes)
    double* row = nullptr; // (n_species, n_radial, n_chebyshev, lanes): dE_i/dc without scaling
    double* near = nullptr; // (3, near_room): points near the atoms of a block
    double* found = nullptr; // (lanes, 3, room): vectors to neighbours, as they are found
    double* sorted = nullptr; // (lanes, 3, slots): by species, for more than one
    double* slot = nullptr; // (slots, slot_size, lanes)
    double* basis = nullptr; // (slots, n_chebyshev, lanes): T_q, kept for features
    std::int32_t *near_point = nullptr, *points = nullptr; // (near_room,), (lanes, room)
    std::int32_t *slot_atom = nullptr, *slot_type = nullptr; // (lanes, slots), (slots,)
};

// Points near a block are several times those near one atom.
inline std::size_t near_room(std::size_t room) { return 8 * room; }

// What one block of atoms (all of one species) adds to; forces may be null.
struct BlockTarget {
    double energy = 0;
    double virial[9] = {};
    double* forces = nullptr; // (n_atoms, 4), aligned to 32 bytes
    double* site_energies = nullptr;
    double* features = nullptr;
    double* feature_sum = nullptr;
    int fault[2] = {-1, -1}; // two atoms that coincide
};

// Atoms that go through the kernel together, one per lane, for one or several potentials of the same
// species and cutoff.
struct Block {
    const MtpProgram* program; // the one that is being evaluated
    const std::vector<const MtpProgram*>* programs;
    const System* system;
    const Grid* grid;
    const std::int32_t* atoms;
    int count; // at most `lanes`
    const Listed* listed; // per atom, points to look at; null: search the grid
    bool keep_basis; // features will be asked for
};

constexpr int unroll_forward = 4, unroll_backward = 2;

// Universal screened nuclear repulsion (Ziegler, Biersack, Littmark 1985), eV, faded out smoothly at
// `reach`; returns the energy and writes its slope.
double core_repulsion(int first, int second, double r, double reach, double& slope);

// Each returns 0 when done, or the neighbours to make room for when scratch.room is too small.
// `run_block` has one target for each potential; `list_block` leaves the points within `reach` of each
// lane's atom in scratch.points.
namespace plain {
std::size_t run_block(const Block&, Scratch&, BlockTarget* targets);
std::size_t list_block(const Block&, Scratch&, double reach, std::size_t* counts);
}
namespace avx2 {
std::size_t run_block(const Block&, Scratch&, BlockTarget* targets);
std::size_t list_block(const Block&, Scratch&, double reach, std::size_t* counts);
}
namespace avx512 {
std::size_t run_block(const Block&, Scratch&, BlockTarget* targets);
std::size_t list_block(const Block&, Scratch&, double reach, std::size_t* counts);
}

} // namespace athanor
