// Points of a grid within the cutoff of one of them. Compiled per instruction set.
#pragma once

#include "athanor/pairs.hpp"
#include "simd.hpp"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace athanor {
namespace ATHANOR_ISA {

// Append to (dx, dy, dz, point) the points of [begin, end) closer than the cutoff; returns the new
// count. Writes up to one vector past the count, so the caller keeps 16 elements of room.
static inline std::size_t scan(const Grid& g, int begin, int end, int self, double* dx, double* dy,
                               double* dz, std::int32_t* point, std::size_t count) {
    const double *x = g.x.data(), *y = g.y.data(), *z = g.z.data();
    const vec cx = splat(x[self]), cy = splat(y[self]), cz = splat(z[self]);
    const double limit = g.cutoff * g.cutoff;
    for (int p = begin; p < end; p += lanes) {
        const vec ex = load(x + p) - cx, ey = load(y + p) - cy, ez = load(z + p) - cz;
        const vec d2 = ex * ex + ey * ey + ez * ez;
#ifdef __AVX512F__
        __mmask8 hit = _mm512_cmp_pd_mask(d2, _mm512_set1_pd(limit), _CMP_LT_OQ);
        if (end - p < lanes) hit &= static_cast<__mmask8>((1u << (end - p)) - 1);
        if (self >= p && self < p + lanes) hit &= static_cast<__mmask8>(~(1u << (self - p)));
        store(dx + count, _mm512_maskz_compress_pd(hit, ex));
        store(dy + count, _mm512_maskz_compress_pd(hit, ey));
        store(dz + count, _mm512_maskz_compress_pd(hit, ez));
        const __m256i ids = _mm256_add_epi32(_mm256_set1_epi32(p),
                                             _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(point + count),
                            _mm256_maskz_compress_epi32(hit, ids));
        count += static_cast<std::size_t>(__builtin_popcount(hit));
#else
        for (int l = 0; l < lanes; ++l) {
            dx[count] = ex[l], dy[count] = ey[l], dz[count] = ez[l];
            point[count] = p + l;
            count += (d2[l] < limit) & (p + l < end) & (p + l != self);
        }
#endif
    }
    return count;
}

// Neighbours of point `self` (itself excluded, its images not). `room` is the length of the arrays;
// a result + 16 above it is an upper bound: the arrays hold only a part and must grow to that.
static inline std::size_t search(const Grid& g, int self, double* dx, double* dy, double* dz,
                                 std::int32_t* point, std::size_t room) {
    const double centre[3] = {g.x[self], g.y[self], g.z[self]};
    int low[3], high[3];
    for (int k = 0; k < 3; ++k) {
        low[k] = static_cast<int>(__builtin_floor((centre[k] - g.cutoff - g.origin[k]) * g.inverse_width[k]));
        high[k] = static_cast<int>(__builtin_floor((centre[k] + g.cutoff - g.origin[k]) * g.inverse_width[k]));
        low[k] = low[k] < 0 ? 0 : low[k];
        high[k] = high[k] >= g.bins[k] ? g.bins[k] - 1 : high[k];
    }
    std::size_t count = 0, wanted = 0;
    bool overflow = false;
    for (int bz = low[2]; bz <= high[2]; ++bz) {
        for (int by = low[1]; by <= high[1]; ++by) {
            // distance in the plane from the centre to this row of bins
            double off[2];
            const int at[2] = {by, bz};
            for (int k = 0; k < 2; ++k) {
                const double edge = g.origin[k + 1] + at[k] * g.width[k + 1];
                const double below = edge - centre[k + 1], above = centre[k + 1] - edge - g.width[k + 1];
                off[k] = below > 0 ? below : (above > 0 ? above : 0);
            }
            // the slack keeps what rounding of a bin's edge could put into the neighbouring bin
            const double left = g.cutoff * g.cutoff * (1 + 1e-9) - off[0] * off[0] - off[1] * off[1];
            if (left < 0) continue;
            const double half = __builtin_sqrt(left) + 1e-9;
            int from = static_cast<int>(__builtin_floor((centre[0] - half - g.origin[0]) * g.inverse_width[0]));
            int to = static_cast<int>(__builtin_floor((centre[0] + half - g.origin[0]) * g.inverse_width[0]));
            from = from < low[0] ? low[0] : from;
            to = to > high[0] ? high[0] : to;
            if (from > to) continue;
            const int row = g.bins[0] * (by + g.bins[1] * bz);
            const int begin = g.start[row + from], end = g.start[row + to + 1];
            wanted += static_cast<std::size_t>(end - begin);
            if (count + static_cast<std::size_t>(end - begin) + 16 > room) {
                overflow = true;
                continue;
            }
            count = scan(g, begin, end, self, dx, dy, dz, point, count);
        }
    }
    return overflow ? wanted : count;
}

} // namespace ATHANOR_ISA
} // namespace athanor
