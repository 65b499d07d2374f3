// Angular symmetry functions of one atom: 2 fc fc ((1 + cos(theta - z)) / 2)^zeta exp(-eta (mean - a)²)
// summed over its triples. Compiled per instruction set.
//
// Triples lie one after the other, whatever row j they belong to, so that every lane is used where the
// elementary functions are; the sum over triples is then a product of two thin matrices.
#pragma once

#include "aev_shell.hpp"

namespace athanor {
namespace ATHANOR_ISA {

// Rows [first, last) of a pair of species, and their triples.
struct Rows {
    int first, last; // neighbours j
    int begin, end; // neighbours k of the second species within the angular cutoff
    bool same; // one species: k > j alone
    int count; // triples
    int start(int j) const { return same ? j + 1 : begin; }
};

// Enough rows from `first` on to fill a chunk; the last of all rows is `last`.
static inline Rows next_rows(int first, int last, int begin, int end, bool same) {
    Rows rows = {first, first, begin, end, same, 0};
    while (rows.last < last && rows.count < static_cast<int>(chunk_goal)) {
        rows.count += end - rows.start(rows.last);
        ++rows.last;
    }
    return rows;
}

// Visit all rows of a pair of species (first <= second) in chunks.
template <typename T, typename Visit>
static inline void visit_chunks(const Shell<T>& e, int first, int second, Visit visit) {
    const int j_end = e.begin[first] + e.n_angular[first], k_end = e.begin[second] + e.n_angular[second];
    for (int j = e.begin[first]; j < j_end;) {
        const Rows rows = next_rows(j, j_end, e.begin[second], k_end, first == second);
        j = rows.last;
        if (rows.count) visit(rows);
    }
}

// cos(theta), mean distance and weight of the triples; beyond the last one a vector of harmless ones.
template <typename T> static inline void lay_out(const Shell<T>& e, const Rows& rows, Triples<T>& t) {
    constexpr int n = Lanes<T>::n;
    int next = 0;
    for (int j = rows.first; j < rows.last; ++j) {
        const T ux = e.ux[j], uy = e.uy[j], uz = e.uz[j], half = e.r[j] / 2, weight = 2 * e.fa[j];
        const int start = rows.start(j), count = rows.end - start;
        for (int k = 0; k < count; k += n) {
            const int at = start + k;
            put<T>(t.cosine + next + k, ux * get(e.ux + at) + uy * get(e.uy + at) + uz * get(e.uz + at));
            put<T>(t.mean + next + k, half + get(e.r + at) / 2);
            put<T>(t.weight + next + k, weight * get(e.fa + at));
        }
        next += count;
    }
    put<T>(t.cosine + next, Vec<T>{}), put<T>(t.mean + next, Vec<T>{}), put<T>(t.weight + next, Vec<T>{});
}

// From this exponent on (1 - y)^zeta is below 1e-9 wherever seven terms of ln(1 - y) are not enough in float.
constexpr double narrow_zeta = 50;

// Factors p (n_z) and q (n_a) of the triples; with Slopes their derivatives by cos(theta) and mean.
template <typename T, bool Slopes, bool Narrow>
static inline void factors_of(const AevProgram& p, const Rows& rows, Triples<T>& t) {
    const AevTables<T>& table = p.tables(T{});
    constexpr int n = Lanes<T>::n;
    constexpr T squeeze = static_cast<T>(0.95);
    const T zeta = static_cast<T>(p.spec.zeta), eta = static_cast<T>(-p.spec.eta_a);
    for (int v = 0; v < rows.count; v += n) {
        // cos(delta / 2) and sin(delta / 2), delta = theta - z: ((1 + cos delta) / 2) = 1 - sin²(delta / 2)
        const Vec<T> c = squeeze * get(t.cosine + v);
        const Vec<T> sine = root_of<T>((1 - c) / 2), cosine = root_of<T>((1 + c) / 2);
        const Vec<T> factor = Slopes ? squeeze * zeta / (2 * sine * cosine) : Vec<T>{};
        for (int z = 0; z < p.n_z; ++z) {
            const Vec<T> sd = sine * table.cos_half[z] - cosine * table.sin_half[z];
            const Vec<T> y = sd * sd, power = Narrow ? log_of_rest_near_one<T>(y) : log_of_rest<T>(y);
            const Vec<T> value = exponential<T>(zeta * power);
            put<T>(t.p + z * t.room + v, value);
            if (Slopes) {
                const Vec<T> cd = cosine * table.cos_half[z] + sine * table.sin_half[z];
                put<T>(t.dp + z * t.room + v, value * factor * sd / cd);
            }
        }
        for (int a = 0; a < p.n_a; ++a) {
            const Vec<T> away = get(t.mean + v) - table.shf_a[a];
            const Vec<T> value = exponential<T>(eta * away * away);
            put<T>(t.q + a * t.room + v, value);
            if (Slopes) put<T>(t.dq + a * t.room + v, 2 * eta * away * value);
        }
    }
}

template <typename T, bool Slopes>
static inline void factors(const AevProgram& p, const Rows& rows, Triples<T>& t) {
    if (sizeof(T) == 4 && p.spec.zeta >= narrow_zeta) factors_of<T, Slopes, true>(p, rows, t);
    else factors_of<T, Slopes, false>(p, rows, t);
}

// sums[a][z] += q[a] p[z] over triples, A x Z of them in registers.
template <typename T, int A, int Z>
static inline void tile(const T* q, const T* p, std::size_t room, int count, T* sums, int n_z) {
    constexpr int n = Lanes<T>::n;
    Vec<T> acc[A][Z];
    for (int a = 0; a < A; ++a)
        for (int z = 0; z < Z; ++z) acc[a][z] = get(sums + (a * n_z + z) * n);
    for (int v = 0; v < count; v += n) {
        Vec<T> right[Z];
        for (int z = 0; z < Z; ++z) right[z] = get(p + z * room + v);
        for (int a = 0; a < A; ++a) {
            const Vec<T> left = get(q + a * room + v);
            for (int z = 0; z < Z; ++z) acc[a][z] += left * right[z];
        }
    }
    for (int a = 0; a < A; ++a)
        for (int z = 0; z < Z; ++z) put<T>(sums + (a * n_z + z) * n, acc[a][z]);
}

template <typename T, int A>
static inline void tiles(const AevProgram& p, const T* q, const T* right, std::size_t room, int count, T* sums) {
    int z = 0;
    for (; z + 4 <= p.n_z; z += 4) tile<T, A, 4>(q, right + z * room, room, count, sums + z * Lanes<T>::n, p.n_z);
    for (; z < p.n_z; ++z) tile<T, A, 1>(q, right + z * room, room, count, sums + z * Lanes<T>::n, p.n_z);
}

template <typename T>
static inline void add_products(const AevProgram& p, const T* q, const T* right, std::size_t room, int count, T* sums) {
    constexpr int most = ATHANOR_LANES == 8 ? 4 : 2; // what the registers hold
    const std::size_t row = static_cast<std::size_t>(p.n_z) * Lanes<T>::n;
    int a = 0;
    for (; a + most <= p.n_a; a += most) tiles<T, most>(p, q + a * room, right, room, count, sums + a * row);
    for (; a < p.n_a; ++a) tiles<T, 1>(p, q + a * room, right, room, count, sums + a * row);
}

template <typename T> static inline void clear_sums(const AevProgram& p, T* sums) {
    for (int k = 0; k < p.n_a * p.n_z; ++k) put<T>(sums + k * Lanes<T>::n, Vec<T>{});
}

template <typename T> static inline void write_sums(const AevProgram& p, const T* sums, T* out) {
    for (int k = 0; k < p.n_a * p.n_z; ++k) out[k] = total<T>(get(sums + k * Lanes<T>::n));
}

// Every pair of species: work(first, second).
template <typename Work> static inline void visit_species(const AevProgram& p, Work work) {
    for (int first = 0; first < p.spec.n_species; ++first)
        for (int second = first; second < p.spec.n_species; ++second) work(first, second);
}

// Values of all pairs of species into the atom's row.
template <typename T> static inline void angular_values(const AevProgram& p, AevScratch<T>& s, T* row) {
    Triples<T>& t = s.triples;
    visit_species(p, [&](int first, int second) {
        clear_sums(p, t.sums);
        visit_chunks(s.shell, first, second, [&](const Rows& rows) {
            lay_out(s.shell, rows, t);
            factors<T, false>(p, rows, t);
            for (int z = 0; z < p.n_z; ++z)
                for (int v = 0; v < rows.count; v += Lanes<T>::n)
                    put<T>(t.p + z * t.room + v, get(t.p + z * t.room + v) * get(t.weight + v));
            add_products(p, t.q, t.p, t.room, rows.count, t.sums);
        });
        write_sums(p, t.sums, row + p.angular(first, second));
    });
}

} // namespace ATHANOR_ISA
} // namespace athanor
