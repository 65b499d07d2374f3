// Radial symmetry functions of one atom: 0.25 exp(-eta (r - s)²) fc(r). Compiled per instruction set.
#pragma once

#include "aev_shell.hpp"

namespace athanor {
namespace ATHANOR_ISA {

// Values: add to (n_species, n_r) at `out`, shifts in lanes.
template <typename T> static inline void radial_values(const AevProgram& p, const AevScratch<T>& s, T* out) {
    const AevTables<T>& t = p.tables(T{});
    const Shell<T>& e = s.shell;
    const T eta = static_cast<T>(-p.spec.eta_r);
    constexpr int n = Lanes<T>::n;
    for (int species = 0; species < p.spec.n_species; ++species, out += p.n_r)
        for (int first = 0; first < p.n_r; first += n) {
            const Vec<T> shift = get(t.shf_r.data() + first);
            Vec<T> sum = {};
            const int begin = e.begin[species];
            for (int k = begin; k < begin + e.n_all[species]; ++k) {
                const Vec<T> away = e.r[k] - shift;
                sum += e.fr[k] * exponential<T>(eta * away * away);
            }
            sum *= get(t.amplitude.data() + first);
            for (int l = 0; l < n && first + l < p.n_r; ++l) out[first + l] = sum[l];
        }
}

// Derivatives of the functions by r for one vector of neighbours, neighbours in lanes: (n_r, vector).
template <typename T> static inline void radial_slopes(const AevProgram& p, const Shell<T>& e, int k, T* slopes) {
    const AevTables<T>& t = p.tables(T{});
    const T eta = static_cast<T>(-p.spec.eta_r);
    const Vec<T> r = get(e.r + k), f = get(e.fr + k), df = get(e.dfr + k);
    for (int m = 0; m < p.n_r; ++m) {
        const Vec<T> away = r - t.shf_r[m];
        const Vec<T> gauss = t.amplitude[m] * exponential<T>(eta * away * away);
        put<T>(slopes + m * Lanes<T>::n, gauss * (df + 2 * eta * away * f));
    }
}

// With slopes of all neighbours made: (shell / vector, n_r, vector).
template <typename T> static inline void all_radial_slopes(const AevProgram& p, AevScratch<T>& s, int count) {
    constexpr int n = Lanes<T>::n;
    for (int k = 0; k < count; k += n)
        radial_slopes<T>(p, s.shell, k, s.slope + static_cast<std::size_t>(k) * p.n_r);
}

// One adjoint (n_species, n_r): what it makes of every neighbour's slope, written to `along`.
template <typename T> static inline void radial_vjp(const AevProgram& p, const AevScratch<T>& s, const T* adjoint, T* along) {
    const Shell<T>& e = s.shell;
    constexpr int n = Lanes<T>::n;
    for (int species = 0; species < p.spec.n_species; ++species, adjoint += p.n_r)
        for (int k = e.begin[species]; k < e.end[species]; k += n) {
            const T* slope = s.slope + static_cast<std::size_t>(k) * p.n_r;
            Vec<T> one = {}, two = {};
            int m = 0;
            for (; m + 1 < p.n_r; m += 2) {
                one += adjoint[m] * get(slope + m * n);
                two += adjoint[m + 1] * get(slope + (m + 1) * n);
            }
            if (m < p.n_r) one += adjoint[m] * get(slope + m * n);
            put<T>(along + k, one + two);
        }
}

// Rates of change (n_species, n_r) for the rates of all lengths.
template <typename T> static inline void radial_jvp(const AevProgram& p, const AevScratch<T>& s, const T* rate, T* out) {
    const Shell<T>& e = s.shell;
    constexpr int n = Lanes<T>::n;
    for (int species = 0; species < p.spec.n_species; ++species, out += p.n_r)
        for (int m = 0; m < p.n_r; ++m) {
            Vec<T> sum = {};
            for (int k = e.begin[species]; k < e.end[species]; k += n)
                sum += get(rate + k) * get(s.slope + static_cast<std::size_t>(k) * p.n_r + m * n);
            out[m] = total<T>(sum);
        }
}

} // namespace ATHANOR_ISA
} // namespace athanor
