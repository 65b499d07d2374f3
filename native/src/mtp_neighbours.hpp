// Neighbours of one block of atoms, one atom per vector lane, and their radial functions. Compiled
// once per instruction set (see simd.hpp).
//
// All atoms of a block have one species. Neighbours are stored in slots: slot k holds the k-th
// neighbour of every lane, neighbours sorted by species, so that radial coefficients are scalars.
// Lanes with fewer neighbours get one at the cutoff, where every radial function and its slope
// are zero.
#pragma once

#include "mtp_scratch.hpp"
#include "search.hpp"

namespace athanor {
namespace ATHANOR_ISA {

struct Slots {
    std::size_t count = 0; // multiple of unroll_forward
};

static inline vec* at(double* base, std::size_t index) { return reinterpret_cast<vec*>(base) + index; }

// Neighbours of every lane into scratch.found / points; returns 0 or the room that is needed.
static inline std::size_t collect(const Block& b, Scratch& s, std::size_t* counts) {
    for (int l = 0; l < b.count; ++l) {
        double* dx = s.found + 3 * s.room * l;
        const int self = b.grid->home[b.atoms[l]];
        counts[l] = search(*b.grid, self, dx, dx + s.room, dx + 2 * s.room, s.points + s.room * l, s.room);
        if (counts[l] + 16 > s.room) return counts[l];
    }
    return 0;
}

// Put one neighbour into lane l of a slot: its vector into the slot's first three rows, and its atom.
static inline void place(Scratch& s, std::size_t size, std::size_t slot, int l, double dx, double dy,
                  double dz, std::int32_t atom) {
    double* base = s.slot + slot * size * lanes + l;
    base[0] = dx, base[lanes] = dy, base[2 * lanes] = dz;
    s.slot_atom[slot * lanes + l] = atom;
}

// From per-lane lists to slots sorted by species.
static inline Slots arrange(const Block& b, Scratch& s, const std::size_t* counts) {
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
static inline void add_core(const Block& b, std::int32_t type, vec r, vec* q, vec* dq, vec& core, vec& energy) {
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
static inline void chebyshev(const MtpSpec& spec, vec r, vec* q, vec* dq) {
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

static inline bool any_below(vec r, double limit) {
    bool found = false;
    for (int l = 0; l < lanes; ++l) found |= r[l] < limit;
    return found;
}

// Unit vectors and radial functions (eq. 3) of every slot; false when two atoms coincide.
static inline bool radials(const Block& b, Scratch& s, const Slots& slots, vec& energy, BlockTarget& target) {
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

} // namespace ATHANOR_ISA
} // namespace athanor
