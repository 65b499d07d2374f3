// Vectors of doubles by compiler extension: one source for AVX-512, AVX2 and plain code.
//
// A file that includes this is compiled once per instruction set, with ATHANOR_ISA naming the
// namespace and ATHANOR_LANES the number of doubles in a vector. Everything lives in that
// namespace and uses no templates of the standard library: an inline function shared between
// objects built for different processors would otherwise be taken from any one of them.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef ATHANOR_ISA
#define ATHANOR_ISA plain
#define ATHANOR_LANES 2
#endif

namespace athanor {
namespace ATHANOR_ISA {

constexpr int lanes = ATHANOR_LANES;
typedef double vec __attribute__((vector_size(8 * ATHANOR_LANES)));
typedef double vec_unaligned __attribute__((vector_size(8 * ATHANOR_LANES), aligned(8)));

static inline vec load(const double* p) { return *reinterpret_cast<const vec_unaligned*>(p); }
static inline void store(double* p, vec v) { *reinterpret_cast<vec_unaligned*>(p) = v; }
static inline vec splat(double s) { return s - vec{}; }

static inline vec root(vec v) {
    vec r;
    for (int l = 0; l < lanes; ++l) r[l] = __builtin_sqrt(v[l]);
    return r;
}

static inline double sum(vec v) {
    double s = 0;
    for (int l = 0; l < lanes; ++l) s += v[l];
    return s;
}

} // namespace ATHANOR_ISA
} // namespace athanor
