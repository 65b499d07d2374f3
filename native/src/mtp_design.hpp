// Work of one thread on the design rows of one structure; see mtp_design.cpp.
#pragma once

#include "athanor/mtp.hpp"

namespace athanor {

// Columns are padded to whole vectors of 8.
inline std::size_t padded8(std::size_t n) { return (n + 7) / 8 * 8; }

struct DesignSizes {
    std::size_t linear, radial, columns; // padded widths: scalars, radial of one centre, both
    std::size_t sparse; // doubles of the adjoints of products, linear columns
};

struct DesignScratch {
    std::size_t room = 0; // neighbours
    double *near = nullptr, *found = nullptr; // (3, room)
    std::int32_t *near_point = nullptr, *points = nullptr; // (room,)
    double *unit = nullptr; // (room, 4): u, 1/r
    double *basis = nullptr; // (room, 2, n_chebyshev)
    double *functions = nullptr; // (room, 2, n_radial)
    double *monomials = nullptr; // (room, n_monomials)
    double *slopes = nullptr; // (4, n_monomials), of one neighbour
    double *moments = nullptr, *adjoints = nullptr; // (n_moments,)
    double *tangents = nullptr, *tangent_adjoints = nullptr; // (n_moments, radial)
    double *sparse = nullptr; // adjoints of products by block
    double *matrix = nullptr; // (n_basic, columns): d(adjoint of basic moment)/d(parameter)
    double *gradients = nullptr; // (3 room, n_summed): dM/dr_j
    double *rows = nullptr; // (3 room, columns)
    const std::size_t* sparse_start = nullptr; // (n_moments,), for products
};

struct DesignJob {
    const MtpProgram* program;
    const System* system;
    const Grid* grid;
    DesignSizes sizes;
    MtpDesign* target;
    int fault[2];
};

// 0 when done, the neighbours atom i has when scratch.room is too small.
namespace plain { std::size_t design_atom(DesignJob&, DesignScratch&, int i); }
namespace avx2 { std::size_t design_atom(DesignJob&, DesignScratch&, int i); }
namespace avx512 { std::size_t design_atom(DesignJob&, DesignScratch&, int i); }

} // namespace athanor
