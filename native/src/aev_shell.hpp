// Neighbours of an atom as environment vectors want them. Compiled per instruction set.
#pragma once

#include "aev_scratch.hpp"
#include "lanes.hpp"
#include "search.hpp"

namespace athanor {
namespace ATHANOR_ISA {

template <typename T> static inline Found list_of(AevScratch<T>& s, int number) {
    double* x = s.found + 3 * s.room * static_cast<std::size_t>(number);
    return {x, x + s.room, x + 2 * s.room, s.points + s.room * static_cast<std::size_t>(number), s.room - lanes, 0};
}

// Search the grid around every atom of a block; 0 or the room that is needed.
template <typename T> static inline std::size_t search(const AevBlock& b, AevScratch<T>& s, double reach) {
    const std::size_t stride = aev_near_room(s.room);
    Found near = {s.near, s.near + stride, s.near + 2 * stride, s.near_point, stride - lanes, 0};
    constexpr int together = 8;
    for (int n = 0; n < b.count;) {
        double low[3] = {}, high[3] = {};
        const int limit = n + together < b.count ? n + together : b.count;
        const int next = box_around(*b.grid, b.atoms, limit, n, low, high);
        if (!near_box(*b.grid, low, high, reach, near)) return near.count / 8 + 1;
        for (; n < next; ++n) {
            Found to = list_of(s, n);
            if (!near_point(*b.grid, near, b.grid->home[b.atoms[n]], reach, to)) return near.count;
            s.counts[n] = to.count;
        }
    }
    return 0;
}

// Put the neighbours of every atom of a block into its list; 0 or the room that is needed.
template <typename T> static inline std::size_t collect(const AevBlock& b, AevScratch<T>& s) {
    const double reach = b.program->cutoff();
    if (!b.listed) return search(b, s, reach);
    for (int n = 0; n < b.count; ++n) {
        const Listed& listed = b.listed[b.atoms[n]];
        Found to = list_of(s, n);
        if (listed.count > to.room) return listed.count;
        near_listed(*b.grid, listed, b.grid->home[b.atoms[n]], reach, to);
        s.counts[n] = to.count;
    }
    return 0;
}

// fc(r) = cos²(q), q = pi r / 2R, and its slope, from pi/2 - q, which keeps its digits near the cutoff.
template <typename T> static inline void cut(Vec<T> r, double cutoff, Vec<T>& value, Vec<T>& slope) {
    const T scale = static_cast<T>(1.5707963267948966 / cutoff);
    const Vec<T> left = static_cast<T>(1.5707963267948966) - r * scale;
    Vec<T> sine, cosine;
    sine_cosine<T>(left > 0 ? left : Vec<T>{}, sine, cosine);
    value = sine * sine, slope = -2 * scale * sine * cosine;
}

// Neighbours [from, to) of the shell that count nothing.
template <typename T> static inline void pad(Shell<T>& e, int from, int to, double cutoff, std::int32_t atom) {
    for (int k = from; k < to; ++k) e.x[k] = static_cast<T>(2 * cutoff), e.y[k] = e.z[k] = 0, e.atom[k] = atom;
}

// Sort the neighbours of atom `number` of a block by species, near ones first.
template <typename T> static inline int sort_shell(const AevBlock& b, AevScratch<T>& s, int number) {
    const AevProgram& p = *b.program;
    const Found from = list_of(s, number);
    const std::size_t count = s.counts[number];
    const double near = p.spec.angular_cutoff * p.spec.angular_cutoff;
    Shell<T>& e = s.shell;
    int total = 0;
    for (int t = 0; t < p.spec.n_species; ++t) {
        const int begin = total;
        e.begin[t] = begin;
        for (int far = 0; far < 2; ++far) {
            for (std::size_t n = 0; n < count; ++n) {
                const std::int32_t point = from.point[n];
                const double square = from.x[n] * from.x[n] + from.y[n] * from.y[n] + from.z[n] * from.z[n];
                if (b.grid->type[point] != t || (square < near) == (far == 1)) continue;
                e.x[total] = static_cast<T>(from.x[n]), e.y[total] = static_cast<T>(from.y[n]);
                e.z[total] = static_cast<T>(from.z[n]), e.atom[total] = b.grid->atom[point];
                ++total;
                if (square < coincident * coincident) s.fault[0] = b.atoms[number], s.fault[1] = b.grid->atom[point];
            }
            if (!far) e.n_angular[t] = total - begin;
        }
        e.n_all[t] = total - begin;
        constexpr int n = Lanes<T>::n;
        const int end = begin + (total - begin + 2 * n - 1) / n * n;
        pad(e, total, end, p.cutoff(), b.atoms[number]);
        e.end[t] = total = end;
    }
    return total;
}

// The shell of atom `number` of a block; its length, -1 where two atoms coincide.
template <typename T> static inline int build_shell(const AevBlock& b, AevScratch<T>& s, int number) {
    const AevProgram& p = *b.program;
    const int total = sort_shell(b, s, number);
    if (s.fault[0] >= 0) return -1;
    Shell<T>& e = s.shell;
    for (int k = 0; k < total; k += Lanes<T>::n) {
        const Vec<T> x = get(e.x + k), y = get(e.y + k), z = get(e.z + k);
        const Vec<T> r = root_of<T>(x * x + y * y + z * z), inverse = 1 / r;
        Vec<T> value, slope;
        put<T>(e.r + k, r), put<T>(e.inverse + k, inverse);
        put<T>(e.ux + k, x * inverse), put<T>(e.uy + k, y * inverse), put<T>(e.uz + k, z * inverse);
        cut<T>(r, p.spec.radial_cutoff, value, slope);
        put<T>(e.fr + k, value), put<T>(e.dfr + k, slope);
        cut<T>(r, p.spec.angular_cutoff, value, slope);
        put<T>(e.fa + k, value), put<T>(e.dfa + k, slope);
    }
    return total;
}

} // namespace ATHANOR_ISA
} // namespace athanor
