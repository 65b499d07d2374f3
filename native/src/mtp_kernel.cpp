// Moment tensor potential of one block of atoms, one atom per vector lane. Compiled once per
// instruction set (see simd.hpp).
//
// All atoms of a block have one species. Neighbours are stored in slots: slot k holds the k-th
// neighbour of every lane, neighbours sorted by species, so that radial coefficients are scalars.
// Lanes with fewer neighbours get one at the cutoff, where every radial function and its slope
// are zero.
#include "mtp_scratch.hpp"
#include "search.hpp"

namespace athanor {
namespace ATHANOR_ISA {
namespace {

struct Slots {
    std::size_t count = 0; // multiple of unroll_forward
};

inline vec* at(double* base, std::size_t index) { return reinterpret_cast<vec*>(base) + index; }

// Neighbours of every lane into scratch.found / points; returns 0 or the room that is needed.
std::size_t collect(const Block& b, Scratch& s, std::size_t* counts) {
    for (int l = 0; l < b.count; ++l) {
        double* dx = s.found + 3 * s.room * l;
        const int self = b.grid->home[b.atoms[l]];
        counts[l] = search(*b.grid, self, dx, dx + s.room, dx + 2 * s.room, s.points + s.room * l, s.room);
        if (counts[l] + 16 > s.room) return counts[l];
    }
    return 0;
}

// Put one neighbour into lane l of a slot: its vector into the slot's first three rows, and its atom.
inline void place(Scratch& s, std::size_t size, std::size_t slot, int l, double dx, double dy,
                  double dz, std::int32_t atom) {
    double* base = s.slot + slot * size * lanes + l;
    base[0] = dx, base[lanes] = dy, base[2 * lanes] = dz;
    s.slot_atom[slot * lanes + l] = atom;
}

// From per-lane lists to slots sorted by species.
Slots arrange(const Block& b, Scratch& s, const std::size_t* counts) {
    const MtpProgram& p = *b.program;
    const std::size_t size = slot_size(p.spec.n_radial);
    const double rim = p.spec.max_dist;
    Slots slots;
    for (int t = 0; t < p.spec.n_species; ++t) {
        std::size_t longest = 0, filled[lanes] = {};
        for (int l = 0; l < b.count; ++l) {
            const double* dx = s.found + 3 * s.room * l;
            for (std::size_t n = 0; n < counts[l]; ++n) {
                const std::int32_t point = s.points[s.room * l + n];
                if (b.grid->type[point] != t) continue;
                place(s, size, slots.count + filled[l]++, l, dx[n], dx[s.room + n],
                      dx[2 * s.room + n], b.grid->atom[point]);
            }
            longest = filled[l] > longest ? filled[l] : longest;
        }
        for (int l = 0; l < lanes; ++l)
            for (std::size_t n = filled[l]; n < longest; ++n)
                place(s, size, slots.count + n, l, rim, 0, 0, b.atoms[l < b.count ? l : 0]);
        for (std::size_t n = 0; n < longest; ++n) s.slot_type[slots.count + n] = t;
        slots.count += longest;
    }
    for (; slots.count % unroll_forward; ++slots.count) {
        s.slot_type[slots.count] = p.spec.n_species - 1;
        for (int l = 0; l < lanes; ++l) place(s, size, slots.count, l, rim, 0, 0, b.atoms[0]);
    }
    return slots;
}

// Below min_dist with a core: radial functions go on as straight lines, and pairs repel.
void add_core(const Block& b, std::int32_t type, vec r, vec* q, vec* dq, vec& core, vec& energy) {
    const MtpProgram& p = *b.program;
    const int n = p.spec.n_chebyshev;
    const int centre = b.system->types[b.atoms[0]];
    for (int l = 0; l < lanes; ++l) {
        if (!(r[l] < p.spec.min_dist)) continue;
        for (int k = 0; k < n; ++k) {
            q[k][l] = p.edge[k] + p.edge[n + k] * (r[l] - p.spec.min_dist);
            dq[k][l] = p.edge[n + k];
        }
        double slope = 0;
        energy[l] += 0.5 * core_repulsion(p.spec.core_numbers[centre], p.spec.core_numbers[type],
                                          r[l], p.spec.min_dist, slope);
        core[l] = 0.5 * slope;
    }
}

// Chebyshev basis Q_q = T_q(xi) (r - Rc)^2 and its slope (eq. 4).
inline void chebyshev(const MtpSpec& spec, vec r, vec* q, vec* dq) {
    const double scale = 2 / (spec.max_dist - spec.min_dist);
    const vec xi = (2 * r - (spec.min_dist + spec.max_dist)) * (0.5 * scale);
    const vec w = r - spec.max_dist, w2 = w * w;
    vec t0 = splat(1), t1 = xi, d0 = splat(0), d1 = splat(1);
    for (int k = 0; k < spec.n_chebyshev; ++k) {
        q[k] = t0 * w2;
        dq[k] = d0 * scale * w2 + 2 * t0 * w;
        const vec t2 = 2 * xi * t1 - t0, d2 = 2 * t1 + 2 * xi * d1 - d0;
        t0 = t1, t1 = t2, d0 = d1, d1 = d2;
    }
}

inline bool any_below(vec r, double limit) {
    bool found = false;
    for (int l = 0; l < lanes; ++l) found |= r[l] < limit;
    return found;
}

// Unit vectors and radial functions (eq. 3) of every slot; false when two atoms coincide.
bool radials(const Block& b, Scratch& s, const Slots& slots, vec& energy, BlockTarget& target) {
    const MtpProgram& p = *b.program;
    const int n_radial = p.spec.n_radial, n = p.spec.n_chebyshev;
    const std::size_t size = slot_size(n_radial);
    const int centre = b.system->types[b.atoms[0]];
    for (std::size_t k = 0; k < slots.count; ++k) {
        vec* v = at(s.slot, k * size);
        const vec r = root(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        if (any_below(r, coincident)) {
            for (int l = 0; l < lanes; ++l)
                if (r[l] < coincident) {
                    target.fault[0] = b.atoms[l];
                    target.fault[1] = s.slot_atom[k * lanes + l];
                }
            return false;
        }
        v[6] = 1 / r;
        for (int d = 0; d < 3; ++d) v[3 + d] = v[d] * v[6];
        v[7] = splat(0);
        vec *q = at(s.basis, 2 * n * k), *dq = q + n;
        chebyshev(p.spec, r, q, dq);
        if (!p.spec.core_numbers.empty() && any_below(r, p.spec.min_dist))
            add_core(b, s.slot_type[k], r, q, dq, v[7], energy);
        const double* c = p.scaled.data() +
                          static_cast<std::size_t>(centre * p.spec.n_species + s.slot_type[k]) * n_radial * n;
        for (int mu = 0; mu < n_radial; ++mu) {
            vec f = splat(0), df = splat(0);
            for (int j = 0; j < n; ++j) f += c[mu * n + j] * q[j], df += c[mu * n + j] * dq[j];
            v[8 + mu] = f;
            v[8 + n_radial + mu] = df;
        }
    }
    return true;
}

template <int N>
inline void monomials(const MtpProgram& p, const vec* const* v, vec* m) {
    for (int s = 0; s < N; ++s) m[s] = splat(1);
    const std::int32_t *parent = p.parent.data(), *axis = p.axis.data();
    for (int n = 1; n < p.n_monomials; ++n)
        for (int s = 0; s < N; ++s) m[n * N + s] = m[parent[n] * N + s] * v[s][3 + axis[n]];
}

// Basic moments M_mu,abc = sum_j f_mu(r_j) x^a y^b z^c / r^(a+b+c).
void sum_moments(const MtpProgram& p, Scratch& s, const Slots& slots) {
    constexpr int N = unroll_forward;
    const std::size_t size = slot_size(p.spec.n_radial);
    vec* total = at(s.moments, 0);
    vec* m = at(s.monomials, 0);
    for (int n = 0; n < p.n_basic; ++n) total[n] = splat(0);
    for (std::size_t k = 0; k < slots.count; k += N) {
        const vec* v[N];
        for (int u = 0; u < N; ++u) v[u] = at(s.slot, (k + u) * size);
        monomials<N>(p, v, m);
        for (int mu = 0; mu < p.spec.n_radial; ++mu) {
            const vec f0 = v[0][8 + mu], f1 = v[1][8 + mu], f2 = v[2][8 + mu], f3 = v[3][8 + mu];
            vec* t = total + p.offset[mu];
            const int end = p.prefix[mu];
            for (int n = 0; n < end; ++n)
                t[n] += (f0 * m[4 * n] + f1 * m[4 * n + 1]) + (f2 * m[4 * n + 2] + f3 * m[4 * n + 3]);
        }
    }
}

// All products, then the site energies (eq. 2).
vec multiply(const MtpProgram& p, Scratch& s, double constant) {
    vec* m = at(s.moments, 0);
    const Product* products = p.products.data();
    for (const MtpProgram::Run *run = p.runs.data(), *end = run + p.runs.size(); run != end; ++run) {
        vec total = splat(0);
        for (int n = run->begin; n < run->end; ++n)
            total += products[n].multiplier * m[products[n].i] * m[products[n].j];
        m[run->target] = total;
    }
    vec energy = splat(constant);
    const std::int32_t* scalars = p.scalars.data();
    for (int k = 0, n = p.n_scalars(); k < n; ++k) energy += p.spec.moment_coeffs[k] * m[scalars[k]];
    return energy;
}

// Adjoints of all moments: dE_i/dM.
void reverse_products(const MtpProgram& p, Scratch& s) {
    const vec* m = at(s.moments, 0);
    vec* a = at(s.adjoints, 0);
    for (int n = 0; n < p.n_moments; ++n) a[n] = splat(0);
    for (int k = 0, n = p.n_scalars(); k < n; ++k) a[p.scalars[k]] += splat(p.spec.moment_coeffs[k]);
    const Product* products = p.products.data();
    for (const MtpProgram::Run *begin = p.runs.data(), *run = begin + p.runs.size(); run-- != begin;) {
        const vec above = a[run->target];
        for (int n = run->begin; n < run->end; ++n) {
            const Product& f = products[n];
            const vec t = f.multiplier * above;
            a[f.i] += t * m[f.j];
            a[f.j] += t * m[f.i];
        }
    }
}

// One axis of the reverse of `monomials`: T_parent += T_n u, g += T_n m_parent.
template <int N>
inline void reverse_axis(const std::int32_t* parent, int begin, int end, const vec* m, vec* t,
                         const vec* u, vec* g) {
    vec sum[N]; // in registers: the compiler cannot know that g and t do not overlap
    for (int s = 0; s < N; ++s) sum[s] = g[s];
    for (int n = end - 1; n >= begin; --n)
        for (int s = 0; s < N; ++s) {
            const vec above = t[n * N + s];
            t[parent[n] * N + s] += above * u[s];
            sum[s] += above * m[parent[n] * N + s];
        }
    for (int s = 0; s < N; ++s) g[s] = sum[s];
}

// The share of one radial function: S_mu, and its part of T. The first writes T, the others add.
template <int N, bool first>
inline void weigh(const MtpProgram& p, int mu, const vec* const* v, const vec* m, const vec* adjoint, vec* t,
                  vec* along) {
    vec total[N], f[N];
    for (int u = 0; u < N; ++u) total[u] = splat(0), f[u] = v[u][8 + mu];
    const vec* a = adjoint + p.offset[mu];
    for (int n = 0, end = p.prefix[mu]; n < end; ++n)
        for (int u = 0; u < N; ++u) {
            total[u] += a[n] * m[n * N + u];
            if (first) t[n * N + u] = a[n] * f[u];
            else t[n * N + u] += a[n] * f[u];
        }
    for (int u = 0; u < N; ++u) along[mu * N + u] = total[u];
}

// dE_i/dr_j of N slots: f'_mu S_mu along the pair, S_mu = sum_abc adjoint * monomial, and the
// gradient g of sum_abc T_abc u^abc over the unit sphere, T_abc = sum_mu adjoint * f_mu.
template <int N>
inline void pair_gradient(const MtpProgram& p, Scratch& s, const vec* const* v, vec* along, vec (*g)[N]) {
    vec *m = at(s.monomials, 0), *t = at(s.weights, 0);
    const vec* adjoint = at(s.adjoints, 0);
    monomials<N>(p, v, m);
    for (int n = p.prefix[0] * N; n < p.n_monomials * N; ++n) t[n] = splat(0);
    weigh<N, true>(p, 0, v, m, adjoint, t, along);
    for (int mu = 1; mu < p.spec.n_radial; ++mu) weigh<N, false>(p, mu, v, m, adjoint, t, along);
    vec ux[3][N];
    for (int d = 0; d < 3; ++d)
        for (int u = 0; u < N; ++u) g[d][u] = splat(0), ux[d][u] = v[u][3 + d];
    // within a rank r the monomials come as r(r+1)/2 from x, r from y, 1 from z
    int end = p.n_monomials, rank = 0;
    while ((rank + 1) * (rank + 2) * (rank + 3) / 6 < end) ++rank;
    for (; rank > 0; --rank) {
        const int begin = rank * (rank + 1) * (rank + 2) / 6, y = begin + rank * (rank + 1) / 2;
        reverse_axis<N>(p.parent.data(), end - 1, end, m, t, ux[2], g[2]);
        reverse_axis<N>(p.parent.data(), y, end - 1, m, t, ux[1], g[1]);
        reverse_axis<N>(p.parent.data(), begin, y, m, t, ux[0], g[0]);
        end = begin;
    }
}

// Add the gradient of one slot to forces and virial.
inline void scatter(const vec* v, const vec* grad, const std::int32_t* atom, int count, double* forces, vec* own,
                    vec* virial) {
    for (int a = 0; a < 3; ++a) {
        own[a] += grad[a];
        for (int c = 0; c < 3; ++c) virial[3 * a + c] += v[a] * grad[c];
    }
    for (int l = 0; l < count; ++l) {
        double* f = forces + 3 * static_cast<std::size_t>(atom[l]);
        f[0] -= grad[0][l], f[1] -= grad[1][l], f[2] -= grad[2][l];
    }
}

// dE_i/dc of every lane: S_mu times the radial basis, summed over neighbours of each species.
void add_radial_features(const Block& b, const Scratch& s, std::size_t slot, int n_unrolled,
                         const vec* along, double* features) {
    const MtpProgram& p = *b.program;
    const int n = p.spec.n_chebyshev, n_radial = p.spec.n_radial;
    const int centre = b.system->types[b.atoms[0]];
    for (int u = 0; u < n_unrolled; ++u) {
        const vec* q = at(s.basis, 2 * n * (slot + u));
        const std::size_t base = static_cast<std::size_t>(centre * p.spec.n_species + s.slot_type[slot + u]) * n_radial * n;
        for (int mu = 0; mu < n_radial; ++mu)
            for (int j = 0; j < n; ++j) {
                const vec add = p.spec.scaling * along[mu * n_unrolled + u] * q[j];
                for (int l = 0; l < b.count; ++l)
                    features[static_cast<std::size_t>(b.atoms[l]) * p.n_parameters() + base + mu * n + j] += add[l];
            }
    }
}

void add_linear_features(const Block& b, const Scratch& s, double* features) {
    const MtpProgram& p = *b.program;
    const vec* m = at(s.moments, 0);
    const std::size_t width = static_cast<std::size_t>(p.n_parameters());
    const std::size_t species = static_cast<std::size_t>(p.n_radial_parameters());
    for (int l = 0; l < b.count; ++l) {
        double* row = features + width * b.atoms[l] + species;
        row[b.system->types[b.atoms[l]]] = 1;
        row += p.spec.n_species;
        for (int k = 0, n = p.n_scalars(); k < n; ++k) row[k] = m[p.scalars[k]][l];
    }
}

void backward(const Block& b, Scratch& s, const Slots& slots, BlockTarget& target) {
    constexpr int N = unroll_backward;
    const MtpProgram& p = *b.program;
    const int n_radial = p.spec.n_radial;
    const std::size_t size = slot_size(n_radial);
    vec own[3] = {}, virial[9] = {}, along[N * max_radial], g[3][N];
    for (std::size_t k = 0; k < slots.count; k += N) {
        const vec* v[N];
        for (int u = 0; u < N; ++u) v[u] = at(s.slot, (k + u) * size);
        pair_gradient<N>(p, s, v, along, g);
        if (target.features) add_radial_features(b, s, k, N, along, target.features);
        if (!target.forces) continue;
        for (int u = 0; u < N; ++u) {
            vec slope = v[u][7];
            for (int mu = 0; mu < n_radial; ++mu) slope += along[mu * N + u] * v[u][8 + n_radial + mu];
            const vec ug = v[u][3] * g[0][u] + v[u][4] * g[1][u] + v[u][5] * g[2][u];
            vec grad[3];
            for (int d = 0; d < 3; ++d) grad[d] = v[u][3 + d] * (slope - ug * v[u][6]) + g[d][u] * v[u][6];
            scatter(v[u], grad, s.slot_atom + (k + u) * lanes, b.count, target.forces, own, virial);
        }
    }
    if (!target.forces) return;
    for (int l = 0; l < b.count; ++l)
        for (int d = 0; d < 3; ++d) target.forces[3 * static_cast<std::size_t>(b.atoms[l]) + d] += own[d][l];
    for (int k = 0; k < 9; ++k) target.virial[k] += sum(virial[k]);
}

} // namespace

std::size_t run_block(const Block& b, Scratch& s, BlockTarget& target) {
    const MtpProgram& p = *b.program;
    std::size_t counts[lanes];
    if (const std::size_t needed = collect(b, s, counts)) return needed;
    const Slots slots = arrange(b, s, counts);
    vec core = splat(0);
    if (!radials(b, s, slots, core, target)) return 0;
    sum_moments(p, s, slots);
    const vec energy = core + multiply(p, s, p.spec.species_coeffs[b.system->types[b.atoms[0]]]);
    for (int l = 0; l < b.count; ++l) {
        target.energy += energy[l];
        if (target.site_energies) target.site_energies[b.atoms[l]] = energy[l];
    }
    if (!target.forces && !target.features) return 0;
    if (target.features) add_linear_features(b, s, target.features);
    reverse_products(p, s);
    backward(b, s, slots, target);
    return 0;
}

} // namespace ATHANOR_ISA
} // namespace athanor
