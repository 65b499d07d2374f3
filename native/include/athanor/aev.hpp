// Atomic environment vectors (Smith et al. 2017, eqs 3-4, as NeuroChem computes them): values,
// vector-Jacobian and Jacobian-vector products, of many structures at once.
//
// Components of an atom: radial (species, s), then angular (pair of species, a, z).
#pragma once

#include "athanor/isa.hpp"
#include "athanor/pairs.hpp"
#include "athanor/system.hpp"

#include <cstddef>
#include <vector>

namespace athanor {

struct AevSpec {
    int n_species = 1;
    double radial_cutoff = 0, angular_cutoff = 0, eta_r = 0, eta_a = 0, zeta = 0;
    std::vector<double> shf_r, shf_a, shf_z;
};

// The spec's numbers as the kernels want them, in their precision.
template <typename T> struct AevTables {
    std::vector<T> shf_r, amplitude; // padded to whole vectors; the amplitude of padding is 0
    std::vector<T> shf_a, cos_half, sin_half; // of shf_z / 2
    explicit AevTables(const AevSpec& spec);
};

struct AevProgram {
    AevSpec spec;
    int n_r = 0, n_a = 0, n_z = 0;

    std::size_t n_radial = 0, length = 0;
    AevTables<float> single;
    AevTables<double> twice;

    explicit AevProgram(const AevSpec& specification); // throws std::invalid_argument

    double cutoff() const { return spec.radial_cutoff > spec.angular_cutoff ? spec.radial_cutoff : spec.angular_cutoff; }
    [[gnu::always_inline]] const AevTables<float>& tables(float) const { return single; }
    [[gnu::always_inline]] const AevTables<double>& tables(double) const { return twice; }
    // First angular component of a pair of species, first <= second.
    [[gnu::always_inline]] std::size_t angular(int first, int second) const {
        const int pair = first * spec.n_species - first * (first - 1) / 2 + second - first;
        return n_radial + static_cast<std::size_t>(pair) * static_cast<std::size_t>(n_a * n_z);
    }
};

struct AevWork {
    int n_threads = 1;
    Isa isa = Isa::automatic;
};

// Structures follow each other in every array over atoms; `offset` is the first atom of each. All
// throw std::invalid_argument, StructureFault.
struct Structures {
    std::vector<System> systems;
    std::vector<std::size_t> offset;
    std::size_t n_atoms = 0;
};

// values: (n_atoms, length)
template <typename T>
void aev_values(const AevProgram& program, const Structures& structures, T* values, const AevWork& work);

// For each of n_rhs adjoints (n_rhs, n_atoms, length): what they contract the Jacobian to, by positions
// (n_rhs, n_atoms, 3) and by strain (n_rhs, n_structures, 9), which sums pair vectors.
template <typename T>
void aev_vjp(const AevProgram& program, const Structures& structures, int n_rhs, const T* adjoints, double* gradient,
             double* strain, const AevWork& work);

// For each of n_rhs velocities (n_rhs, n_atoms, 3) and strain rates (n_rhs, n_structures, 9): the rate of
// change of the values, (n_rhs, n_atoms, length), with d r_ij = v_j - v_i + r_ij strain.
template <typename T>
void aev_jvp(const AevProgram& program, const Structures& structures, int n_rhs, const double* velocities,
             const double* strains, T* rates, const AevWork& work);

} // namespace athanor
