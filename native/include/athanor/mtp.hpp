// Moment tensor potentials (Novikov et al. 2021, eqs 1-6): energy, forces, virial, site energies,
// and derivatives of all of them by all parameters.
//
// Parameter order everywhere: radial coefficients (i, j, mu, q), species_coeffs, moment_coeffs.
#pragma once

#include "athanor/isa.hpp"
#include "athanor/pairs.hpp"
#include "athanor/skin.hpp"
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
constexpr int max_chebyshev = 64; // and Chebyshev functions; usual are 8 to 12

struct Product {
    std::int32_t i, j;
    double multiplier;
};

// Sums of products as the evaluation wants them: entries of one multiplier stand together. The sum
// at `target` is that of multiplier * left * right over its parts, plus `constant`.
struct Fold {
    struct Entry { std::int32_t left, right; };
    struct Part { double multiplier; std::int32_t begin, end; };
    struct Sum { std::int32_t target, begin, end; double constant; };
    std::vector<Entry> entries;
    std::vector<Part> parts;
    std::vector<Sum> sums;
};

// The spec laid out for the kernels. Moments are renumbered. First come those that are summed over
// neighbours: for each mu the monomials x^a y^b z^c with c <= 1 up to the highest rank it needs.
// Then the basic moments with c >= 2, which follow from x^2 + y^2 + z^2 = 1; then the products in
// ascending order.
struct MtpProgram {
    MtpSpec spec;
    // x^a y^b z^c with c <= 1: (highest rank + 1)^2 of them, as `plain_index` and `tall_index` say
    int n_monomials = 0;
    std::vector<std::int32_t> parent, axis; // monomial = parent * (x, y or z); [0] is 1
    std::vector<std::array<std::int32_t, 3>> lower; // d/dx, d/dy, d/dz: index of the monomial, -1: 0
    std::vector<std::array<double, 3>> power; // its factor
    std::vector<std::int32_t> rank, prefix, offset; // per mu: highest rank, its monomials, first moment
    struct Trace { std::int32_t target, whole, first, second; }; // target = whole - first - second
    std::vector<Trace> traces; // in an order in which all on the right are complete when used
    int n_summed = 0, n_basic = 0, n_moments = 0; // renumbered; each includes those before it
    std::vector<Product> products;
    struct Run { std::int32_t target, begin, end; };
    std::vector<Run> runs; // products [begin, end) add up to the moment `target`
    std::vector<std::int32_t> scalars; // per scalar function: its moment
    Fold forward; // the moments that are products, from moments
    Fold reverse; // dE_i/dM of every moment, from adjoints (left) and moments (right), without traces
    std::vector<double> scaled; // radial coefficients times scaling, (i, j, mu, q)
    std::vector<double> edge; // Q_q and Q'_q at min_dist, without scaling: (2, n_chebyshev)
    // scalars that depend on each moment, as blocks of 8 columns, for the design rows
    std::vector<std::vector<std::int32_t>> blocks;

    explicit MtpProgram(const MtpSpec& specification); // throws std::invalid_argument
    int n_scalars() const { return static_cast<int>(scalars.size()); }
    int n_radial_parameters() const { return static_cast<int>(scaled.size()); }
    // (mu, q) of a pair of species
    [[gnu::always_inline]] const double* radial_of(int centre, int neighbour) const {
        return scaled.data() +
               static_cast<std::size_t>(centre * spec.n_species + neighbour) * spec.n_radial * spec.n_chebyshev;
    }
    int n_parameters() const { return n_radial_parameters() + spec.n_species + n_scalars(); }
};

// Place of x^(rank-b) y^b, and of x^(rank-1-b) y^b z, among the monomials.
constexpr int plain_index(int rank, int b) { return rank * rank + b; }
constexpr int tall_index(int rank, int b) { return rank * rank + rank + 1 + b; }

// Where results go; null pointers are not wanted. Every array is overwritten.
struct MtpResult {
    double energy = 0;
    double virial[9] = {}; // dE/d(strain), eV, symmetric
    double volume = 0; // Å^3, 0 unless periodic in all directions
    double* forces = nullptr; // (n_atoms, 3)
    double* site_energies = nullptr; // (n_atoms,)
    double* features = nullptr; // (n_atoms, n_parameters), dE_i/dtheta
    double* feature_sum = nullptr; // (n_parameters,), dE/dtheta
};

struct Evaluation {
    int n_threads = 1;
    Isa isa = Isa::automatic;
    SkinList* kept = nullptr; // neighbours kept from call to call
};

// One result for each potential. All have the same number of species and the same cutoff; neighbours
// are found once for all. Throws std::invalid_argument, StructureFault.
void evaluate(const std::vector<const MtpProgram*>& programs, const System& system, std::vector<MtpResult>& results,
              const Evaluation& how);

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
