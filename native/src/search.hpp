// Points of a grid within the cutoff, in two steps: those near the box around a few atoms, then
// those of them near each atom. Compiled per instruction set.
#pragma once

#include "athanor/pairs.hpp"
#include "simd.hpp"

namespace athanor {
namespace ATHANOR_ISA {

// Growing lists of points; every array has room for `room` and one vector more.
struct Found {
    double *x, *y, *z;
    std::int32_t* point;
    std::size_t room, count;
};

// Append those of `lanes` points whose bit is set.
static inline void keep(Found& to, unsigned hit, vec x, vec y, vec z, const std::int32_t* points) {
    const std::size_t n = to.count;
#ifdef __AVX512F__
    const auto mask = static_cast<__mmask8>(hit);
    store(to.x + n, _mm512_maskz_compress_pd(mask, x));
    store(to.y + n, _mm512_maskz_compress_pd(mask, y));
    store(to.z + n, _mm512_maskz_compress_pd(mask, z));
    const __m256i ids = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(points));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to.point + n), _mm256_maskz_compress_epi32(mask, ids));
    to.count += static_cast<std::size_t>(__builtin_popcount(hit));
#else
    std::size_t m = n;
    for (; hit; hit &= hit - 1, ++m) {
        const int l = __builtin_ctz(hit);
        to.x[m] = x[l], to.y[m] = y[l], to.z[m] = z[l];
        to.point[m] = points[l];
    }
    to.count = m;
#endif
}

// A point beyond any cutoff after the last ones, so that vectors may run over the end.
static inline void close(Found& list) {
    for (int l = 0; l < lanes; ++l) list.x[list.count + l] = list.y[list.count + l] = list.z[list.count + l] = 1e30;
}

// Atoms [first, result) of `count` lie so close together that one box around them is searched.
static inline int box_around(const Grid& g, const std::int32_t* atoms, int count, int first, double* low,
                             double* high) {
    int next = first;
    for (; next < count; ++next) {
        const std::int32_t p = g.home[atoms[next]];
        const double r[3] = {g.x[p], g.y[p], g.z[p]};
        bool wide = false;
        for (int k = 0; k < 3 && next > first; ++k)
            wide |= r[k] - low[k] > g.cutoff || high[k] - r[k] > g.cutoff;
        if (wide) break;
        for (int k = 0; k < 3; ++k) {
            low[k] = next == first || r[k] < low[k] ? r[k] : low[k];
            high[k] = next == first || r[k] > high[k] ? r[k] : high[k];
        }
    }
    return next;
}

// Rows of bins along x that come within `reach` of a box, one after the other.
template <typename Visit>
static inline void visit_rows(const Grid& g, const double* low, const double* high, double reach, Visit visit) {
    int first[3], last[3];
    for (int k = 0; k < 3; ++k) {
        first[k] = g.bin(k, low[k] - reach);
        last[k] = g.bin(k, high[k] + reach);
    }
    for (int bz = first[2]; bz <= last[2]; ++bz)
        for (int by = first[1]; by <= last[1]; ++by) {
            // distance in the plane from the box to this row of bins
            double off[2];
            const int at[2] = {by, bz};
            for (int k = 0; k < 2; ++k) {
                const double edge = g.origin[k + 1] + at[k] * g.width[k + 1];
                const double under = edge - high[k + 1], over = low[k + 1] - edge - g.width[k + 1];
                off[k] = under > 0 ? under : (over > 0 ? over : 0);
            }
            // the slack keeps what rounding of a bin's edge could put into the neighbouring bin
            const double left = reach * reach * (1 + 1e-9) - off[0] * off[0] - off[1] * off[1];
            if (left < 0) continue;
            const double half = __builtin_sqrt(left) + 1e-9;
            const int row = g.bins[0] * (by + g.bins[1] * bz);
            visit(g.start[row + g.bin(0, low[0] - half)], g.start[row + g.bin(0, high[0] + half) + 1]);
        }
}

// Points within `reach` of the box [low, high]; false when they may be more than the room.
static inline bool near_box(const Grid& g, const double* low, const double* high, double reach, Found& to) {
    const double *x = g.x.data(), *y = g.y.data(), *z = g.z.data();
    const vec lx = splat(low[0]), ly = splat(low[1]), lz = splat(low[2]);
    const vec hx = splat(high[0]), hy = splat(high[1]), hz = splat(high[2]);
    const vec none = splat(0), limit = splat(reach * reach * (1 + 1e-12));
    std::size_t wanted = 0;
    to.count = 0;
    visit_rows(g, low, high, reach, [&](int begin, int end) {
        wanted += static_cast<std::size_t>(end - begin);
        if (wanted > to.room) return;
        for (int p = begin; p < end; p += lanes) {
            const vec px = load(x + p), py = load(y + p), pz = load(z + p);
            const vec ex = larger(larger(lx - px, px - hx), none);
            const vec ey = larger(larger(ly - py, py - hy), none);
            const vec ez = larger(larger(lz - pz, pz - hz), none);
            unsigned hit = below(ex * ex + ey * ey + ez * ez, limit);
            if (end - p < lanes) hit &= (1u << (end - p)) - 1;
            keep(to, hit, px, py, pz, g.number.data() + p);
        }
    });
    if (wanted > to.room) {
        to.count = wanted;
        return false;
    }
    close(to);
    return true;
}

// Of `lanes` points, keep those closer to point `self` than the reach, as vectors from it; itself is
// left out, its images are not.
static inline void keep_near(const Grid& g, int self, vec x, vec y, vec z, vec limit, const std::int32_t* points,
                             Found& to) {
    const vec ex = x - splat(g.x[self]), ey = y - splat(g.y[self]), ez = z - splat(g.z[self]);
    const vec square = ex * ex + ey * ey + ez * ez;
    unsigned hit = below(square, limit);
    if (below(square, splat(1e-30))) // itself, and whatever coincides with it
        for (int l = 0; l < lanes; ++l)
            if (points[l] == self) hit &= ~(1u << l);
    keep(to, hit, ex, ey, ez, points);
}

// The points nearby that are closer to point `self` than the reach; false when there is no room.
static inline bool near_point(const Grid& g, const Found& nearby, int self, double reach, Found& to) {
    const vec limit = splat(reach * reach);
    to.count = 0;
    for (std::size_t n = 0; n < nearby.count; n += lanes) {
        if (to.count > to.room) return false;
        keep_near(g, self, load(nearby.x + n), load(nearby.y + n), load(nearby.z + n), limit, nearby.point + n, to);
    }
    return to.count <= to.room;
}

// The same of a list of points, whose length is a multiple of 8 and not above the room.
static inline void near_listed(const Grid& g, const Listed& listed, int self, double reach, Found& to) {
    const double *x = g.x.data(), *y = g.y.data(), *z = g.z.data();
    const vec limit = splat(reach * reach);
    to.count = 0;
    for (std::size_t n = 0; n < listed.count; n += lanes) {
        const std::int32_t* p = listed.points + n;
        vec px, py, pz;
        for (int l = 0; l < lanes; ++l) px[l] = x[p[l]], py[l] = y[p[l]], pz[l] = z[p[l]];
        keep_near(g, self, px, py, pz, limit, p, to);
    }
}

} // namespace ATHANOR_ISA
} // namespace athanor
