// Neighbours within a cutoff: atoms and their periodic images, sorted into Cartesian bins.
//
// The grid holds every atom, wrapped into the cell, and every image that can be within the cutoff
// of the cell, so that a search needs no image arithmetic: any cell shape, self-images, cells
// smaller than the cutoff and mixed boundary conditions are all alike.
#pragma once

#include "athanor/system.hpp"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace athanor {

// Distances below this (Å) are coincident atoms: no potential means anything there.
constexpr double coincident = 1e-3;

// More points than this (atoms and images) are refused before memory is taken for them.
constexpr std::size_t max_points = 100'000'000;

struct StructureFault : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

struct Grid {
    double cutoff = 0.0;
    double origin[3] = {}, inverse_width[3] = {}, width[3] = {};
    int bins[3] = {1, 1, 1};
    std::vector<double> x, y, z; // all points in bin order, padded for vector loads
    std::vector<std::int32_t> atom, type; // per point: the atom it is an image of, and its species
    std::vector<std::int32_t> number; // 0, 1, ...: the points' own numbers, for vector loads
    std::vector<std::int32_t> start; // (number of bins + 1,)
    std::vector<std::int32_t> home; // (n_atoms,): the point that is atom i itself
    std::vector<std::int32_t> order; // (n_atoms,): atoms by species, then by bin
    double volume = 0.0; // of the cell, 0 unless periodic in all three directions

    // Throws StructureFault for a singular cell or one with absurdly many images.
    void build(const System& system, double cutoff_radius);

    // The bin along one axis that holds a coordinate; the outermost ones hold all beyond them.
    [[gnu::always_inline]] int bin(int axis, double value) const {
        const double b = (value - origin[axis]) * inverse_width[axis];
        if (!(b > 0)) return 0;
        return b < bins[axis] ? static_cast<int>(b) : bins[axis] - 1;
    }
};

// Points to look at for the neighbours of one atom; filled up to a multiple of 8 with points beyond
// any cutoff.
struct Listed {
    const std::int32_t* points;
    std::size_t count;
};

// One flat list of directed pairs, for tests and tools; i ascending.
struct PairList {
    std::vector<std::int32_t> i, j;
    std::vector<double> vectors; // (n_pairs, 3), r_j - r_i
};

PairList all_pairs(const System& system, double cutoff);

} // namespace athanor
