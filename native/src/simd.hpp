// Vectors of doubles by compiler extension: one source for AVX-512, AVX2 and plain code.
//
// A file that includes this is compiled once per instruction set, with ATHANOR_ISA naming the
// namespace and ATHANOR_LANES the number of doubles in a vector. Everything lives in that
// namespace and uses no templates of the standard library: an inline function shared between
// objects built for different processors would otherwise be taken from any one of them.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __SSE2__
#include <immintrin.h>
#endif

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

// Bit l says whether a[l] < b[l].
static inline unsigned below(vec a, vec b) {
#if defined(__AVX512F__)
    return _mm512_cmp_pd_mask(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b), _CMP_LT_OQ);
#elif defined(__AVX2__)
    return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ)));
#elif defined(__SSE2__)
    return static_cast<unsigned>(_mm_movemask_pd(_mm_cmplt_pd(a, b)));
#else
    unsigned bits = 0;
    for (int l = 0; l < lanes; ++l) bits |= static_cast<unsigned>(a[l] < b[l]) << l;
    return bits;
#endif
}

static inline vec larger(vec a, vec b) {
#if defined(__SSE2__) && !defined(__AVX2__)
    return _mm_max_pd(a, b); // a comparison and three logical operations otherwise
#else
    return a > b ? a : b;
#endif
}

// Rows and columns of `lanes` vectors change places.
static inline void transpose(vec* rows) {
    typedef long long index __attribute__((vector_size(8 * ATHANOR_LANES)));
    index low, high; // of two vectors, the lower and the upper halves interleaved
    for (int l = 0; l < lanes; ++l) {
        low[l] = l / 2 + (l % 2) * lanes;
        high[l] = low[l] + lanes / 2;
    }
    for (int stage = 1; stage < lanes; stage *= 2) {
        vec mixed[lanes];
        for (int l = 0; l < lanes / 2; ++l) {
            mixed[2 * l] = __builtin_shuffle(rows[l], rows[l + lanes / 2], low);
            mixed[2 * l + 1] = __builtin_shuffle(rows[l], rows[l + lanes / 2], high);
        }
        for (int l = 0; l < lanes; ++l) rows[l] = mixed[l];
    }
}

// Lane by lane the components of a vector, with a fourth that is 0.
typedef double quad __attribute__((vector_size(32)));

static inline void quads(const vec* xyz, quad* each) {
#if ATHANOR_LANES == 8
    typedef long long index __attribute__((vector_size(64)));
    const vec zero = splat(0);
    for (int half = 0; half < 2; ++half) {
        const long long h = 4 * half;
        const index pairs = {h, h + 8, h + 1, h + 9, h + 2, h + 10, h + 3, h + 11};
        const vec xy = __builtin_shuffle(xyz[0], xyz[1], pairs), z0 = __builtin_shuffle(xyz[2], zero, pairs);
        const vec low = __builtin_shuffle(xy, z0, index{0, 1, 8, 9, 2, 3, 10, 11});
        const vec high = __builtin_shuffle(xy, z0, index{4, 5, 12, 13, 6, 7, 14, 15});
        *reinterpret_cast<vec*>(each + 4 * half) = low;
        *reinterpret_cast<vec*>(each + 4 * half + 2) = high;
    }
#elif ATHANOR_LANES == 4
    vec rows[4] = {xyz[0], xyz[1], xyz[2], splat(0)};
    transpose(rows);
    for (int l = 0; l < 4; ++l) each[l] = rows[l];
#else
    for (int l = 0; l < lanes; ++l) each[l] = quad{xyz[0][l], xyz[1][l], xyz[2][l], 0};
#endif
}

static inline double sum(vec v) {
    double s = 0;
    for (int l = 0; l < lanes; ++l) s += v[l];
    return s;
}

} // namespace ATHANOR_ISA
} // namespace athanor
