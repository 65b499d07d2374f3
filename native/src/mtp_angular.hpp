// Sums over neighbours of one radial function's moments, and their reverse. Compiled per
// instruction set.
//
// Only the monomials x^a y^b z^c of the unit vector with c <= 1 are summed, 2 nu + 1 of rank nu
// instead of (nu + 1)(nu + 2)/2: the others follow from x^2 + y^2 + z^2 = 1. Monomials stay in
// registers: forward by one multiplication each, in reverse by Horner's rule for the polynomial and
// its gradient at once. N neighbours go side by side, so that moments are read once for all.
#pragma once

#include "athanor/mtp.hpp"
#include "simd.hpp"

namespace athanor {
namespace ATHANOR_ISA {

// total += sum_u f_u x_u^a y_u^b z_u^c for all monomials up to `rank`.
template <int N>
static inline void add_moments(vec* total, int rank, const vec* x, const vec* y, const vec* z, const vec* f) {
    static_assert(N == 4, "the sum below is written out");
    vec row[N];
    for (int u = 0; u < N; ++u) row[u] = f[u];
    for (int b = 0; b <= rank; ++b) {
        vec g[N];
        for (int u = 0; u < N; ++u) g[u] = row[u];
        for (int s = b; s < rank; ++s) {
            vec &plain = total[plain_index(s, b)], &tall = total[tall_index(s + 1, b)];
            plain += (g[0] + g[1]) + (g[2] + g[3]);
            tall += (g[0] * z[0] + g[1] * z[1]) + (g[2] * z[2] + g[3] * z[3]);
            for (int u = 0; u < N; ++u) g[u] *= x[u];
        }
        total[plain_index(rank, b)] += (g[0] + g[1]) + (g[2] + g[3]);
        for (int u = 0; u < N; ++u) row[u] *= y[u];
    }
}

// value_u = sum_abc A_abc x_u^a y_u^b z_u^c, and its gradient by (x, y, z) as independent variables.
template <int N>
static inline void polynomial(const vec* a, int rank, const vec* x, const vec* y, const vec* z, vec* value,
                              vec (*gradient)[N]) {
    vec p[N], px[N], py[N], pz[N];
    for (int u = 0; u < N; ++u) p[u] = px[u] = py[u] = pz[u] = splat(0);
    for (int b = rank; b >= 0; --b) {
        vec q[N], qx[N], qz[N];
        for (int u = 0; u < N; ++u) q[u] = a[plain_index(rank, b)], qx[u] = qz[u] = splat(0);
        for (int s = rank - 1; s >= b; --s) {
            const vec plain = a[plain_index(s, b)], tall = a[tall_index(s + 1, b)];
            for (int u = 0; u < N; ++u) {
                qx[u] = qx[u] * x[u] + q[u];
                q[u] = q[u] * x[u] + (plain + z[u] * tall);
                qz[u] = qz[u] * x[u] + tall;
            }
        }
        for (int u = 0; u < N; ++u) {
            py[u] = py[u] * y[u] + p[u];
            p[u] = p[u] * y[u] + q[u];
            px[u] = px[u] * y[u] + qx[u];
            pz[u] = pz[u] * y[u] + qz[u];
        }
    }
    for (int u = 0; u < N; ++u)
        value[u] = p[u], gradient[0][u] = px[u], gradient[1][u] = py[u], gradient[2][u] = pz[u];
}

// The value alone.
template <int N>
static inline void polynomial_value(const vec* a, int rank, const vec* x, const vec* y, const vec* z, vec* value) {
    for (int u = 0; u < N; ++u) value[u] = splat(0);
    for (int b = rank; b >= 0; --b) {
        vec q[N];
        for (int u = 0; u < N; ++u) q[u] = a[plain_index(rank, b)];
        for (int s = rank - 1; s >= b; --s)
            for (int u = 0; u < N; ++u) q[u] = q[u] * x[u] + (a[plain_index(s, b)] + z[u] * a[tall_index(s + 1, b)]);
        for (int u = 0; u < N; ++u) value[u] = value[u] * y[u] + q[u];
    }
}

} // namespace ATHANOR_ISA
} // namespace athanor
