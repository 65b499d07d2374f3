// Ensembles of ANI networks (Smith et al. 2017, 2021): environment vectors, then for every member of the
// ensemble a multilayer perceptron of the atom's species; energies, forces, virial.
#pragma once

#include "athanor/aev.hpp"
#include "athanor/skin.hpp"

#include <memory>
#include <vector>

namespace athanor {

// One layer of one species' networks. Weights (n_members, n_out, n_in), biases (n_members, n_out).
struct AniLayer {
    int n_in = 0, n_out = 0;
    std::vector<double> weights, biases;
};

// All layers but the last, whose n_out is 1, end in CELU(alpha).
struct AniSpec {
    int n_members = 1;
    double alpha = 0.1;
    double scale = 1; // eV of one unit of output
    std::vector<std::vector<AniLayer>> networks; // by species
    std::vector<double> offsets; // (n_members, n_species), eV
};

// A layer as the kernels want it, rows padded with zeros to whole vectors.
template <typename T> struct AniTables {
    std::size_t n_in = 0, n_out = 0, in_stride = 0, out_stride = 0;
    std::vector<T> forward, backward, bias; // (n_members, n_in, out_stride), (., n_out, in_stride), (., out_stride)
};

template <typename T> struct AniProgram {
    std::shared_ptr<const AevProgram> aev;
    AniSpec spec; // its layers are emptied, `tables` holds them
    std::vector<std::vector<AniTables<T>>> tables; // by species
    std::vector<std::size_t> feature_of; // by species, the first of its features
    std::size_t n_features = 0, widest = 0; // the longest padded row of any layer

    // throws std::invalid_argument
    AniProgram(std::shared_ptr<const AevProgram> environment, AniSpec specification);
};

// Null pointers are not wanted. Every array is overwritten.
struct AniResult {
    double volume = 0; // Å^3, 0 unless periodic in all directions
    double* energies = nullptr; // (n_members,)
    double* forces = nullptr; // (k, n_atoms, 3) with k = n_members, or 1 for the mean
    double* virial = nullptr; // (k, 9), dE/d(strain)
    double* site_energies = nullptr; // (n_members, n_atoms)
    double* features = nullptr; // (n_atoms, n_features): dE_i by the first member's last weights and bias
};

struct AniWork {
    bool each = false; // forces and virial of every member instead of their mean
    int n_threads = 1;
    Isa isa = Isa::automatic;
    SkinList* kept = nullptr; // neighbours kept from call to call
};

// Throws std::invalid_argument, StructureFault.
template <typename T>
void evaluate(const AniProgram<T>& program, const System& system, AniResult& result, const AniWork& work);

} // namespace athanor
