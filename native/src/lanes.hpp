// Vectors of float or double, and the elementary functions that environment vectors need. Compiled
// per instruction set (see simd.hpp): vectors are 8 * ATHANOR_LANES bytes wide for both.
#pragma once

#include "simd.hpp"

namespace athanor {
namespace ATHANOR_ISA {

template <typename T> struct Lanes;
template <> struct Lanes<float> {
    static constexpr int n = 2 * ATHANOR_LANES, mantissa = 23, exp_terms = 7, sine_terms = 7, log_terms = 6;
    typedef float vec __attribute__((vector_size(8 * ATHANOR_LANES), may_alias));
    typedef float loose __attribute__((vector_size(8 * ATHANOR_LANES), aligned(4), may_alias));
    typedef std::int32_t ints __attribute__((vector_size(8 * ATHANOR_LANES)));
    static constexpr std::int32_t magic_bits = 0x4B400000, root_half_bits = 0x3F3504F3;
    // ln 2 in two parts; the first has so few digits that its products are exact
    static constexpr float magic = 12582912.0f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, lowest = -80.0f;
};
template <> struct Lanes<double> {
    static constexpr int n = ATHANOR_LANES, mantissa = 52, exp_terms = 13, sine_terms = 12, log_terms = 11;
    typedef double vec __attribute__((vector_size(8 * ATHANOR_LANES), may_alias));
    typedef double loose __attribute__((vector_size(8 * ATHANOR_LANES), aligned(8), may_alias));
    typedef std::int64_t ints __attribute__((vector_size(8 * ATHANOR_LANES)));
    static constexpr std::int64_t magic_bits = 0x4338000000000000, root_half_bits = 0x3FE6A09E667F3BCD;
    static constexpr double magic = 6755399441055744.0, ln2_high = 0.693147180369123816490,
                            ln2_low = 1.90821492927058770002e-10, lowest = -700.0;
};

template <typename T> using Vec = typename Lanes<T>::vec;

template <typename T> static inline Vec<T> get(const T* p) {
    return *reinterpret_cast<const typename Lanes<T>::loose*>(p);
}
template <typename T> static inline void put(T* p, Vec<T> v) { *reinterpret_cast<typename Lanes<T>::loose*>(p) = v; }
template <typename T> static inline Vec<T> all(T s) { return s - Vec<T>{}; }

template <typename T> static inline T total(Vec<T> v) {
    T s = 0;
    for (int l = 0; l < Lanes<T>::n; ++l) s += v[l];
    return s;
}

template <typename T> static inline Vec<T> root_of(Vec<T> v) {
    Vec<T> r;
    for (int l = 0; l < Lanes<T>::n; ++l)
        r[l] = sizeof(T) == 4 ? static_cast<T>(__builtin_sqrtf(static_cast<float>(v[l]))) : static_cast<T>(__builtin_sqrt(v[l]));
    return r;
}

// 1 / k!, a table made when compiling
struct InverseFactorials {
    double of[28] = {};
    constexpr InverseFactorials() {
        of[0] = 1;
        for (int k = 1; k < 28; ++k) of[k] = of[k - 1] / k;
    }
};
static constexpr InverseFactorials inverse_factorials{};

// e^x for x <= 80; 0 where x is below `lowest`.
template <typename T> static inline Vec<T> exponential(Vec<T> given) {
    using L = Lanes<T>;
    const Vec<T> x = given > L::lowest ? given : all<T>(L::lowest);
    const Vec<T> k = x * T(1.4426950408889634074) + L::magic, n = k - L::magic;
    const Vec<T> r = (x - n * L::ln2_high) - n * L::ln2_low;
    Vec<T> p = all<T>(T(inverse_factorials.of[L::exp_terms]));
#pragma GCC unroll 16
    for (int m = L::exp_terms - 1; m >= 0; --m) p = p * r + T(inverse_factorials.of[m]);
    const typename L::ints bits = (typename L::ints)p + ((typename L::ints)k << L::mantissa);
    return given > L::lowest ? (Vec<T>)bits : Vec<T>{};
}

// ln(1 - y) for 0 <= y < 1, accurate near y = 0.
template <typename T> static inline Vec<T> log_of_rest(Vec<T> y) {
    using L = Lanes<T>;
    using I = typename L::ints;
    const Vec<T> x = 1 - y;
    const I e = ((I)x - L::root_half_bits) >> L::mantissa;
    const Vec<T> m = (Vec<T>)((I)x - (e << L::mantissa)), k = (Vec<T>)(e + L::magic_bits) - L::magic;
    const Vec<T> f = y < T(0.29) ? -y : m - 1, s = f / (2 + f), square = s * s;
    Vec<T> p = all<T>(T(1.0 / (2 * L::log_terms - 1)));
#pragma GCC unroll 16
    for (int t = L::log_terms - 2; t >= 0; --t) p = p * square + T(1.0 / (2 * t + 1));
    return k * T(0.69314718055994530942) + 2 * s * p;
}

// The same by its first terms: too high by y^8 / 8, which is nothing where y is small.
template <typename T> static inline Vec<T> log_of_rest_near_one(Vec<T> y) {
    Vec<T> p = all<T>(T(1.0 / 7));
#pragma GCC unroll 8
    for (int k = 6; k > 0; --k) p = p * y + T(1.0 / k);
    return -y * p;
}

// sin and cos of 0 <= q <= pi/2.
template <typename T> static inline void sine_cosine(Vec<T> q, Vec<T>& sine, Vec<T>& cosine) {
    using L = Lanes<T>;
    const Vec<T> square = -q * q;
    Vec<T> s = all<T>(T(inverse_factorials.of[2 * L::sine_terms + 1])), c = all<T>(T(inverse_factorials.of[2 * L::sine_terms]));
#pragma GCC unroll 16
    for (int t = L::sine_terms - 1; t >= 0; --t) {
        s = s * square + T(inverse_factorials.of[2 * t + 1]);
        c = c * square + T(inverse_factorials.of[2 * t]);
    }
    sine = s * q, cosine = c;
}

} // namespace ATHANOR_ISA
} // namespace athanor
