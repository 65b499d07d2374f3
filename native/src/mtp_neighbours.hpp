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

inline vec* at(double* base, std::size_t index) { return reinterpret_cast<vec*>(base) + index; }

// Where the neighbours of lane l go. Room for one vector more is left at the end of each list.
static inline Found list_of(Scratch& s, int l) {
    double* x = s.found + 3 * s.room * l;
    return {x, x + s.room, x + 2 * s.room, s.points + s.room * l, s.room - lanes, 0};
}

// Search the grid for the neighbours of every lane; 0 or the room that is needed.
static inline std::size_t search(const Block& b, Scratch& s, double reach, std::size_t* counts) {
    const std::size_t stride = near_room(s.room);
    Found near = {s.near, s.near + stride, s.near + 2 * stride, s.near_point, stride - lanes, 0};
    for (int l = 0; l < b.count;) {
        double low[3] = {}, high[3] = {};
        const int next = box_around(*b.grid, b.atoms, b.count, l, low, high);
        if (!near_box(*b.grid, low, high, reach, near)) return near.count / 8 + 1;
        for (; l < next; ++l) {
            Found to = list_of(s, l);
            if (!near_point(*b.grid, near, b.grid->home[b.atoms[l]], reach, to)) return near.count;
            counts[l] = to.count;
        }
    }
    return 0;
}

// Put the neighbours of every lane into its list; 0 or the room that is needed.
static inline std::size_t collect(const Block& b, Scratch& s, std::size_t* counts) {
    const double reach = b.program->spec.max_dist;
    if (!b.listed) return search(b, s, reach, counts);
    for (int l = 0; l < b.count; ++l) {
        const Listed& listed = b.listed[b.atoms[l]];
        Found to = list_of(s, l);
        if (listed.count > to.room) return listed.count;
        near_listed(*b.grid, listed, b.grid->home[b.atoms[l]], reach, to);
        counts[l] = to.count;
    }
    return 0;
}

// A neighbour that counts nothing, at the end of a lane's list.
static inline void pad(double* x, std::size_t stride, std::size_t n, double rim) {
    x[n] = rim, x[stride + n] = 0, x[2 * stride + n] = 0;
}

// Sort the lists of all lanes by species into slots; returns how many. `lists` has (lanes, 3, stride).
static inline std::size_t sort_species(const Block& b, Scratch& s, const std::size_t* counts, double* lists,
                                       std::size_t stride) {
    const MtpProgram& p = *b.program;
    std::size_t total = 0;
    for (int t = 0; t < p.spec.n_species; ++t) {
        std::size_t longest = 0, filled[lanes] = {};
        for (int l = 0; l < b.count; ++l) {
            const double* from = s.found + 3 * s.room * l;
            double* to = lists + 3 * stride * l;
            for (std::size_t n = 0; n < counts[l]; ++n) {
                const std::int32_t point = s.points[s.room * l + n];
                if (b.grid->type[point] != t) continue;
                const std::size_t k = total + filled[l]++;
                for (int d = 0; d < 3; ++d) to[d * stride + k] = from[d * s.room + n];
                s.slot_atom[l * s.slots + k] = b.grid->atom[point];
            }
            longest = filled[l] > longest ? filled[l] : longest;
        }
        for (int l = 0; l < lanes; ++l)
            for (std::size_t k = total + filled[l]; k < total + longest; ++k) {
                pad(lists + 3 * stride * l, stride, k, p.spec.max_dist);
                s.slot_atom[l * s.slots + k] = b.atoms[0];
            }
        for (std::size_t k = 0; k < longest; ++k) s.slot_type[total + k] = t;
        total += longest;
    }
    return total;
}

// The same for one species: lists stay where they are.
static inline std::size_t one_species(const Block& b, Scratch& s, const std::size_t* counts) {
    std::size_t longest = 0;
    for (int l = 0; l < b.count; ++l) {
        longest = counts[l] > longest ? counts[l] : longest;
        for (std::size_t n = 0; n < counts[l]; ++n)
            s.slot_atom[l * s.slots + n] = b.grid->atom[s.points[s.room * l + n]];
    }
    for (int l = 0; l < lanes; ++l)
        for (std::size_t k = l < b.count ? counts[l] : 0; k < longest; ++k) {
            pad(s.found + 3 * s.room * l, s.room, k, b.program->spec.max_dist);
            s.slot_atom[l * s.slots + k] = b.atoms[0];
        }
    for (std::size_t k = 0; k < longest; ++k) s.slot_type[k] = 0;
    return longest;
}

// From per-lane lists to slots, a multiple of unroll_forward of them.
static inline std::size_t arrange(const Block& b, Scratch& s, const std::size_t* counts) {
    const MtpProgram& p = *b.program;
    const bool single = p.spec.n_species == 1;
    double* lists = single ? s.found : s.sorted;
    const std::size_t stride = single ? s.room : s.slots, size = s.slot_size;
    std::size_t count = single ? one_species(b, s, counts) : sort_species(b, s, counts, lists, stride);
    for (; count % unroll_forward; ++count) {
        s.slot_type[count] = p.spec.n_species - 1;
        for (int l = 0; l < lanes; ++l) {
            pad(lists + 3 * stride * l, stride, count, p.spec.max_dist);
            s.slot_atom[l * s.slots + count] = b.atoms[0];
        }
    }
    for (std::size_t k = 0; k < count; k += lanes)
        for (int d = 0; d < 3; ++d) {
            vec rows[lanes];
            for (int l = 0; l < lanes; ++l) rows[l] = load(lists + (3 * l + d) * stride + k);
            transpose(rows);
            for (int l = 0; l < lanes; ++l) at(s.slot, (k + l) * size)[d] = rows[l];
        }
    return count;
}

// T_q(xi) and their derivatives by xi (eq. 4), `n` of them.
static inline void chebyshev(const MtpSpec& spec, int n, vec r, vec* t, vec* dt) {
    const vec xi = (2 * r - (spec.min_dist + spec.max_dist)) * (1 / (spec.max_dist - spec.min_dist)), twice = 2 * xi;
    t[0] = splat(1), dt[0] = splat(0);
    if (n > 1) t[1] = xi, dt[1] = splat(1);
    for (int k = 2; k < n; ++k) {
        t[k] = twice * t[k - 1] - t[k - 2];
        dt[k] = 2 * t[k - 1] + (twice * dt[k - 1] - dt[k - 2]);
    }
}

// Below min_dist with a core: radial functions go on as straight lines, and pairs repel.
static inline void add_core(const Block& b, std::int32_t type, const double* c, vec* v, vec* t, vec& energy) {
    const MtpProgram& p = *b.program;
    const int n = p.spec.n_chebyshev, n_radial = p.spec.n_radial, centre = b.system->types[b.atoms[0]];
    for (int l = 0; l < lanes; ++l) {
        const double r = 1 / v[6][l];
        if (!(r < p.spec.min_dist)) continue;
        for (int mu = 0; mu < n_radial; ++mu) {
            double f = 0, df = 0;
            for (int k = 0; k < n; ++k) {
                const double q = p.edge[k] + p.edge[n + k] * (r - p.spec.min_dist);
                f += c[mu * n + k] * q, df += c[mu * n + k] * p.edge[n + k];
                t[k][l] = q / v[8][l];
            }
            v[9 + mu][l] = f, v[9 + n_radial + mu][l] = df;
        }
        double slope = 0;
        energy[l] += 0.5 * core_repulsion(p.spec.core_numbers[centre], p.spec.core_numbers[type], r,
                                          p.spec.min_dist, slope);
        v[7][l] = 0.5 * slope;
    }
}

// Unit vectors and radial functions (eq. 3) of every slot; the shortest distance of each lane. With
// Q the number of Chebyshev functions when compiling, they stay in registers; 0: any number.
template <int Q>
static inline vec radials_of(const Block& b, Scratch& s, std::size_t count) {
    const MtpProgram& p = *b.program;
    const int n_radial = p.spec.n_radial, n = Q ? Q : p.spec.n_chebyshev;
    const std::size_t size = s.slot_size;
    const double scale = 2 / (p.spec.max_dist - p.spec.min_dist);
    vec nearest = splat(p.spec.max_dist), t[Q ? Q : max_chebyshev], dt[Q ? Q : max_chebyshev];
    for (std::size_t k = 0; k < count; ++k) {
        vec* v = at(s.slot, k * size);
        const vec r = root(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]), inverse = 1 / r;
        nearest = r < nearest ? r : nearest;
        for (int d = 0; d < 3; ++d) v[3 + d] = v[d] * inverse;
        const vec w = r - p.spec.max_dist, w2 = w * w, slope = scale * w2;
        v[6] = inverse, v[7] = splat(0), v[8] = w2;
        chebyshev(p.spec, n, r, t, dt);
        const double* c = p.radial_of(b.system->types[b.atoms[0]], s.slot_type[k]);
        for (int mu = 0; mu < n_radial; ++mu) {
            vec f = splat(0), df = splat(0);
            for (int j = 0; j < n; ++j) f += c[mu * n + j] * t[j], df += c[mu * n + j] * dt[j];
            v[9 + mu] = f * w2;
            v[9 + n_radial + mu] = df * slope + 2 * w * f;
        }
        if (b.keep_basis)
            for (int j = 0; j < n; ++j) at(s.basis, n * k)[j] = t[j];
    }
    return nearest;
}

static inline vec radials(const Block& b, Scratch& s, std::size_t count) {
    return b.program->spec.n_chebyshev == 8 ? radials_of<8>(b, s, count) : radials_of<0>(b, s, count);
}

// Whatever is closer than it should be: false when two atoms coincide.
static inline bool mend(const Block& b, Scratch& s, std::size_t count, vec nearest, vec& energy,
                        BlockTarget& target) {
    const MtpProgram& p = *b.program;
    const bool core = !p.spec.core_numbers.empty() && below(nearest, splat(p.spec.min_dist));
    if (!core && !below(nearest, splat(coincident))) return true;
    const std::size_t size = s.slot_size;
    for (std::size_t k = 0; k < count; ++k) {
        vec* v = at(s.slot, k * size);
        const vec square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
        for (int l = 0; l < lanes; ++l)
            if (square[l] < coincident * coincident) {
                target.fault[0] = b.atoms[l];
                target.fault[1] = s.slot_atom[l * s.slots + k];
                return false;
            }
        // (the basis is written even where nobody reads it)
        if (core && below(square, splat(p.spec.min_dist * p.spec.min_dist)))
            add_core(b, s.slot_type[k], p.radial_of(b.system->types[b.atoms[0]], s.slot_type[k]), v,
                     at(s.basis, p.spec.n_chebyshev * k), energy);
    }
    return true;
}

} // namespace ATHANOR_ISA
} // namespace athanor
