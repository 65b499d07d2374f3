// Products of the angular functions' Jacobian with adjoints and with velocities. Compiled per
// instruction set.
#pragma once

#include "aev_angular.hpp"

namespace athanor {
namespace ATHANOR_ISA {

// With an adjoint g (n_a, n_z), per triple: e0 = sum g q p, ec = sum g q p', er = sum g q' p.
template <typename T, int Z> static inline void contract(const AevProgram& p, const T* g, int z, int count, Triples<T>& t) {
    constexpr int n = Lanes<T>::n;
    for (int v = 0; v < count; v += n) {
        Vec<T> plain[Z] = {}, slope[Z] = {};
        for (int a = 0; a < p.n_a; ++a) {
            const Vec<T> q = get(t.q + a * t.room + v), dq = get(t.dq + a * t.room + v);
            for (int k = 0; k < Z; ++k) {
                const T weight = g[a * p.n_z + z + k];
                plain[k] += weight * q, slope[k] += weight * dq;
            }
        }
        Vec<T> e0 = get(t.e0 + v), ec = get(t.ec + v), er = get(t.er + v);
        for (int k = 0; k < Z; ++k) {
            const Vec<T> value = get(t.p + (z + k) * t.room + v);
            e0 += plain[k] * value, er += slope[k] * value;
            ec += plain[k] * get(t.dp + (z + k) * t.room + v);
        }
        put<T>(t.e0 + v, e0), put<T>(t.ec + v, ec), put<T>(t.er + v, er);
    }
}

template <typename T> static inline void contract_all(const AevProgram& p, const T* g, int count, Triples<T>& t) {
    // one vector more than there are triples is read, with weight 0
    for (int v = 0; v < count + Lanes<T>::n; v += Lanes<T>::n)
        put<T>(t.e0 + v, Vec<T>{}), put<T>(t.ec + v, Vec<T>{}), put<T>(t.er + v, Vec<T>{});
    int z = 0;
    for (; z + 4 <= p.n_z; z += 4) contract<T, 4>(p, g, z, count, t);
    for (; z < p.n_z; ++z) contract<T, 1>(p, g, z, count, t);
}

// From triples to neighbours: `along` is the derivative by a neighbour's distance at fixed angles, and b
// sums w ec u of the other one, so that the gradient is along u + (b - (b u) u) / r.
template <typename T>
static inline void hand_out(const Rows& rows, const Shell<T>& e, const Triples<T>& t, const Turn<T>& to) {
    constexpr int n = Lanes<T>::n;
    int next = 0;
    for (int j = rows.first; j < rows.last; ++j) {
        const T ux = e.ux[j], uy = e.uy[j], uz = e.uz[j], f = 2 * e.fa[j], df = 2 * e.dfa[j];
        const int start = rows.start(j), count = rows.end - start;
        Vec<T> along = {}, bx = {}, by = {}, bz = {};
        for (int k = 0; k < count; k += n) {
            const int at = start + k;
            // lanes beyond the row have fa = dfa = 0
            const Vec<T> e0 = get(t.e0 + next + k), fa = get(e.fa + at), weight = f * fa;
            const Vec<T> turn = weight * get(t.ec + next + k), mean = weight * get(t.er + next + k) / 2;
            along += mean + df * fa * e0;
            bx += turn * get(e.ux + at), by += turn * get(e.uy + at), bz += turn * get(e.uz + at);
            put<T>(to.along + at, get(to.along + at) + mean + f * get(e.dfa + at) * e0);
            put<T>(to.x + at, get(to.x + at) + turn * ux);
            put<T>(to.y + at, get(to.y + at) + turn * uy);
            put<T>(to.z + at, get(to.z + at) + turn * uz);
        }
        next += count;
        to.along[j] += total<T>(along);
        to.x[j] += total<T>(bx), to.y[j] += total<T>(by), to.z[j] += total<T>(bz);
    }
}

// Rates of cos(theta), mean and weight of the triples, from the velocities of the neighbours.
template <typename T>
static inline void lay_out_rates(const Shell<T>& e, const Turn<T>& v, const Rows& rows, Triples<T>& t) {
    constexpr int n = Lanes<T>::n;
    int next = 0;
    for (int j = rows.first; j < rows.last; ++j) {
        const T ux = e.ux[j], uy = e.uy[j], uz = e.uz[j], vx = v.x[j], vy = v.y[j], vz = v.z[j];
        const T rate = v.along[j], f = 2 * e.fa[j], df = 2 * e.dfa[j] * rate;
        const int start = rows.start(j), count = rows.end - start;
        for (int k = 0; k < count; k += n) {
            const int at = start + k;
            const Vec<T> other = get(v.along + at);
            put<T>(t.cosine_rate + next + k,
                   vx * get(e.ux + at) + vy * get(e.uy + at) + vz * get(e.uz + at) + ux * get(v.x + at) +
                       uy * get(v.y + at) + uz * get(v.z + at));
            put<T>(t.mean_rate + next + k, (rate + other) / 2);
            put<T>(t.weight_rate + next + k, df * get(e.fa + at) + f * get(e.dfa + at) * other);
        }
        next += count;
    }
    put<T>(t.cosine_rate + next, Vec<T>{}), put<T>(t.mean_rate + next, Vec<T>{});
    put<T>(t.weight_rate + next, Vec<T>{});
}

// Rates of the angular functions of one pair of species: factors of the triples, and their rates, are there.
template <typename T> static inline void add_rates(const AevProgram& p, const Rows& rows, Triples<T>& t, T* sums) {
    constexpr int n = Lanes<T>::n;
    for (int v = 0; v < rows.count; v += n) {
        const Vec<T> weight = get(t.weight + v), weight_rate = get(t.weight_rate + v);
        const Vec<T> turn = weight * get(t.cosine_rate + v), along = weight * get(t.mean_rate + v);
        for (int z = 0; z < p.n_z; ++z) {
            const Vec<T> value = get(t.p + z * t.room + v);
            put<T>(t.p_rate + z * t.room + v, weight_rate * value + turn * get(t.dp + z * t.room + v));
            put<T>(t.p_along + z * t.room + v, along * value);
        }
    }
    add_products(p, t.q, t.p_rate, t.room, rows.count, sums);
    add_products(p, t.dq, t.p_along, t.room, rows.count, sums);
}

} // namespace ATHANOR_ISA
} // namespace athanor
