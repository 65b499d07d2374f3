// Moment tensor potentials (Novikov et al. 2021, eqs 1-6): energy, forces, virial, site energies,
// and derivatives of all of them by all parameters.
//
// Parameter order everywhere: radial coefficients (i, j, mu, q), species_coeffs, moment_coeffs.
#pragma once

#include "athanor/pairs.hpp"
#include "athanor/system.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace athanor {

// What a potential is made of, in the meaning of the MLIP 1.1.0 format.
struct MtpSpec {
    int n_species = 1, n_radial = 1, n_chebyshev = 1;
    double min_dist = 0, max_dist = 0, scaling = 1;
    std::vector<double> radial; // (n_species, n_species, n_radial, n_chebyshev)
    std::vector<double> species_coeffs, moment_coeffs;
    std::vector<std::array<std::int32_t, 4>> basic, times;
    std::vector<std::int32_t> mapping;
    int n_moments = 0;
    // Atomic numbers by species: with them, pairs below min_dist feel the universal screened
    // repulsion and radial functions continue as straight lines. Empty: polynomials run on.
    std::vector<int> core_numbers;
};

constexpr int max_radial = 64; // radial functions; the published levels need up to 6

struct Product {
    std::int32_t i, j;
    double multiplier;
};

// The spec laid out for the kernels. Moments are renumbered: for each mu, all monomials up to the
// highest rank it needs (a prefix of the monomials), then the products in ascending order.
struct MtpProgram {
    MtpSpec spec;
    int n_monomials = 0; // x^a y^b z^c by rank
    std::vector<std::int32_t> parent, axis; // monomial = parent * (x, y or z); [0] is 1
    std::vector<std::array<std::int32_t, 3>> lower; // d/dx, d/dy, d/dz: index of the monomial, -1: 0
    std::vector<std::array<double, 3>> power; // its factor
    std::vector<std::int32_t> prefix, offset; // per mu: how many monomials, where they start
    int n_basic = 0, n_moments = 0; // renumbered
    std::vector<Product> products;
    struct Run { std::int32_t target, begin, end; };
    std::vector<Run> runs; // products [begin, end) add up to the moment `target`
    std::vector<std::int32_t> scalars; // per scalar function: its moment
    std::vector<double> scaled; // radial coefficients times scaling, (i, j, mu, q)
    std::vector<double> edge; // Q_q and Q'_q at min_dist, without scaling: (2, n_chebyshev)
    // scalars that depend on each moment, as blocks of 8 columns, for the design rows
    std::vector<std::vector<std::int32_t>> blocks;

    explicit MtpProgram(const MtpSpec& specification); // throws std::invalid_argument
    int n_scalars() const { return static_cast<int>(scalars.size()); }
    int n_radial_parameters() const { return static_cast<int>(scaled.size()); }
    int n_parameters() const { return n_radial_parameters() + spec.n_species + n_scalars(); }
};

enum class Isa { automatic, plain, avx2, avx512 };
bool supported(Isa isa);
Isa widest();

// Where results go; null pointers are not wanted. Every array is overwritten.
struct MtpResult {
    double energy = 0;
    double virial[9] = {}; // dE/d(strain), eV, symmetric
    double volume = 0; // Å^3, 0 unless periodic in all directions
    double* forces = nullptr; // (n_atoms, 3)
    double* site_energies = nullptr; // (n_atoms,)
    double* features = nullptr; // (n_atoms, n_parameters), dE_i/dtheta
};

void evaluate(const MtpProgram& program, const System& system, MtpResult& result, int n_threads,
              Isa isa);

// Derivatives of energy, forces and virial by parameters. With `radial` all parameters, otherwise
// species_coeffs and moment_coeffs alone. Every array is overwritten.
struct MtpDesign {
    bool radial = true;
    double* energy = nullptr; // (n_columns,)
    double* forces = nullptr; // (n_atoms, 3, n_columns)
    double* virial = nullptr; // (6, n_columns), xx yy zz yz xz xy
};

int n_columns(const MtpProgram& program, bool radial);
void design(const MtpProgram& program, const System& system, MtpDesign& rows, Isa isa);

} // namespace athanor
