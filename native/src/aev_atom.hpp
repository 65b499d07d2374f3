// Environment vector of one atom and the products of its Jacobian. Compiled per instruction set.
#pragma once

#include "aev_kernel.hpp"
#include "aev_products.hpp"
#include "aev_radial.hpp"

namespace athanor {
namespace ATHANOR_ISA {

// The shell of the atom is made; `row` is overwritten.
template <typename T> static inline void atom_values(const AevProgram& p, AevScratch<T>& s, T* row) {
    radial_values(p, s, row);
    angular_values(p, s, row);
}

// Gradient of one adjoint by the atom's neighbours, and the strain's.
template <typename T>
static inline void scatter(const Shell<T>& e, const Turn<T>& turn, int count, std::int32_t self,
                           double* gradient, double* strain) {
    constexpr int n = Lanes<T>::n;
    Vec<T> w[6] = {}, own[3] = {};
    for (int k = 0; k < count; k += n) {
        const Vec<T> u[3] = {get(e.ux + k), get(e.uy + k), get(e.uz + k)}, inverse = get(e.inverse + k);
        const Vec<T> t[3] = {get(turn.x + k), get(turn.y + k), get(turn.z + k)};
        const Vec<T> along = get(turn.along + k) - (t[0] * u[0] + t[1] * u[1] + t[2] * u[2]) * inverse;
        Vec<T> f[3];
        for (int d = 0; d < 3; ++d) f[d] = along * u[d] + t[d] * inverse, own[d] += f[d];
        const Vec<T> x = get(e.x + k), y = get(e.y + k), z = get(e.z + k);
        w[0] += x * f[0], w[1] += y * f[1], w[2] += z * f[2];
        w[3] += y * f[2], w[4] += x * f[2], w[5] += x * f[1];
        for (int l = 0; l < n; ++l) {
            double* g = gradient + 4 * static_cast<std::size_t>(e.atom[k + l]);
            g[0] += f[0][l], g[1] += f[1][l], g[2] += f[2][l];
        }
    }
    for (int d = 0; d < 3; ++d) gradient[4 * static_cast<std::size_t>(self) + d] -= total<T>(own[d]);
    // symmetric, since an atom's energy does not change on rotation
    static constexpr int voigt[9] = {0, 5, 4, 5, 1, 3, 4, 3, 2};
    double sums[6];
    for (int k = 0; k < 6; ++k) sums[k] = total<T>(w[k]);
    for (int k = 0; k < 9; ++k) strain[k] += sums[voigt[k]];
}

// `count` is the length of the shell, which is made.
template <typename T>
static inline void atom_vjp(const AevBlock& b, AevScratch<T>& s, int number, int count, const AevAdjoints<T>& to) {
    const AevProgram& p = *b.program;
    constexpr int n = Lanes<T>::n;
    const std::int32_t self = b.atoms[number];
    const auto row_of = [&](int m) {
        return to.rows + static_cast<std::size_t>(m) * to.block +
               static_cast<std::size_t>(to.by_place ? number : self) * to.row;
    };
    all_radial_slopes(p, s, count);
    for (int m = 0; m < to.n_rhs; ++m) {
        const Turn<T> turn = s.turn(m);
        radial_vjp(p, s, row_of(m), turn.along);
        for (int k = 0; k < count; k += n)
            put<T>(turn.x + k, Vec<T>{}), put<T>(turn.y + k, Vec<T>{}), put<T>(turn.z + k, Vec<T>{});
    }
    visit_species(p, [&](int first, int second) {
        visit_chunks(s.shell, first, second, [&](const Rows& rows) {
            lay_out(s.shell, rows, s.triples);
            factors<T, true>(p, rows, s.triples);
            for (int m = 0; m < to.n_rhs; ++m) {
                contract_all(p, row_of(m) + p.angular(first, second), rows.count, s.triples);
                hand_out(rows, s.shell, s.triples, s.turn(m));
            }
        });
    });
    const std::size_t size = 4 * static_cast<std::size_t>(b.system->n_atoms);
    for (int m = 0; m < to.n_rhs; ++m)
        scatter(s.shell, s.turn(m), count, self, to.gradient + size * static_cast<std::size_t>(m),
                to.strain + 9 * m);
}

// Rates of length and direction of every neighbour.
template <typename T>
static inline void move_shell(const Shell<T>& e, const Turn<T>& turn, int count, const double* velocities,
                              const double* strain, std::int32_t self) {
    constexpr int n = Lanes<T>::n;
    for (int k = 0; k < count; k += n) {
        Vec<T> v[3];
        const Vec<T> r[3] = {get(e.x + k), get(e.y + k), get(e.z + k)}, inverse = get(e.inverse + k);
        for (int d = 0; d < 3; ++d) {
            for (int l = 0; l < n; ++l)
                v[d][l] = static_cast<T>(velocities[3 * static_cast<std::size_t>(e.atom[k + l]) + d] -
                                         velocities[3 * static_cast<std::size_t>(self) + d]);
            for (int c = 0; c < 3; ++c) v[d] += r[c] * static_cast<T>(strain[3 * c + d]);
        }
        const Vec<T> u[3] = {get(e.ux + k), get(e.uy + k), get(e.uz + k)};
        const Vec<T> along = v[0] * u[0] + v[1] * u[1] + v[2] * u[2];
        put<T>(turn.along + k, along);
        put<T>(turn.x + k, (v[0] - along * u[0]) * inverse);
        put<T>(turn.y + k, (v[1] - along * u[1]) * inverse);
        put<T>(turn.z + k, (v[2] - along * u[2]) * inverse);
    }
}

template <typename T>
static inline void atom_jvp(const AevBlock& b, AevScratch<T>& s, int number, int count, const AevVelocities<T>& to) {
    const AevProgram& p = *b.program;
    Triples<T>& t = s.triples;
    const std::int32_t self = b.atoms[number];
    const auto row_of = [&](int m) {
        return to.rates + static_cast<std::size_t>(m) * to.block + static_cast<std::size_t>(self) * p.length;
    };
    all_radial_slopes(p, s, count);
    for (int m = 0; m < to.n_rhs; ++m) {
        move_shell(s.shell, s.turn(m), count, to.velocities + static_cast<std::size_t>(m) * to.stride,
                   to.strains + static_cast<std::size_t>(m) * to.strain_stride, self);
        radial_jvp(p, s, s.turn(m).along, row_of(m));
    }
    const std::size_t size = static_cast<std::size_t>(p.n_a * p.n_z) * Lanes<T>::n;
    visit_species(p, [&](int first, int second) {
        for (int m = 0; m < to.n_rhs; ++m) clear_sums(p, t.sums + m * size);
        visit_chunks(s.shell, first, second, [&](const Rows& rows) {
            lay_out(s.shell, rows, t);
            factors<T, true>(p, rows, t);
            for (int m = 0; m < to.n_rhs; ++m) {
                lay_out_rates(s.shell, s.turn(m), rows, t);
                add_rates(p, rows, t, t.sums + m * size);
            }
        });
        for (int m = 0; m < to.n_rhs; ++m) write_sums(p, t.sums + m * size, row_of(m) + p.angular(first, second));
    });
}

} // namespace ATHANOR_ISA
} // namespace athanor
