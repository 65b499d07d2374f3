// The networks of one species on a block of atoms. Compiled per instruction set.
//
// A block's rows stay in the first caches while the weights of one member after the other pass by; a
// tile of the product stays in registers.
#pragma once

#include "ani_kernel.hpp"
#include "lanes.hpp"

namespace athanor {
namespace ATHANOR_ISA {

constexpr int tile_rows = ATHANOR_LANES == 8 ? 8 : 4;

// to[r][c] = from[r][.] weights[.][c] (+ bias[c], or + to[r][c]) for R rows and C vectors of columns.
template <typename T, int R, int C>
static inline void multiply_tile(const T* from, std::size_t from_stride, const T* weights, std::size_t stride,
                                 std::size_t depth, const T* bias, bool add, T* to, std::size_t to_stride) {
    constexpr int n = Lanes<T>::n;
    Vec<T> sum[R][C];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c)
            sum[r][c] = bias ? get(bias + c * n) : (add ? get(to + r * to_stride + c * n) : Vec<T>{});
    for (std::size_t k = 0; k < depth; ++k) {
        Vec<T> right[C];
        for (int c = 0; c < C; ++c) right[c] = get(weights + k * stride + c * n);
        for (int r = 0; r < R; ++r) {
            const T left = from[r * from_stride + k];
            for (int c = 0; c < C; ++c) sum[r][c] += left * right[c];
        }
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) put<T>(to + r * to_stride + c * n, sum[r][c]);
}

// The same for all rows (a multiple of tile_rows) and columns.
template <typename T>
static inline void multiply(const T* from, std::size_t from_stride, const T* weights, std::size_t columns,
                            std::size_t depth, const T* bias, bool add, int rows, T* to, std::size_t to_stride) {
    constexpr std::size_t n = Lanes<T>::n;
    for (std::size_t c = 0; c < columns;) {
        const std::size_t left = (columns - c) / n, width = left == 4 || left == 2 ? 2 : (left >= 3 ? 3 : 1);
        const T* b = bias ? bias + c : nullptr;
        for (int r = 0; r < rows; r += tile_rows) {
            const T* a = from + static_cast<std::size_t>(r) * from_stride;
            T* o = to + static_cast<std::size_t>(r) * to_stride + c;
            if (width == 3) multiply_tile<T, tile_rows, 3>(a, from_stride, weights + c, columns, depth, b, add, o, to_stride);
            else if (width == 2) multiply_tile<T, tile_rows, 2>(a, from_stride, weights + c, columns, depth, b, add, o, to_stride);
            else multiply_tile<T, tile_rows, 1>(a, from_stride, weights + c, columns, depth, b, add, o, to_stride);
        }
        c += width * n;
    }
}

// CELU(x) = max(0, x) + min(0, alpha (e^(x / alpha) - 1)), in place.
template <typename T> static inline void activate(T* x, std::size_t count, T alpha) {
    for (std::size_t k = 0; k < count; k += Lanes<T>::n) {
        const Vec<T> v = get(x + k);
        const Vec<T> low = alpha * exponential<T>((v < 0 ? v : Vec<T>{}) / alpha) - alpha;
        put<T>(x + k, v > 0 ? v : low);
    }
}

// Slope of CELU where it has the value v: 1 above 0, v / alpha + 1 below.
template <typename T> static inline Vec<T> slope_at(Vec<T> v, T alpha) {
    return v > 0 ? all<T>(1) : v / alpha + 1;
}

template <typename T> struct Networks {
    const AniProgram<T>& program;
    const std::vector<AniTables<T>>& layers;
    const AniScratch<T>& s;
    int rows; // a multiple of tile_rows

    std::size_t hidden() const { return layers.size() - 1; }
    T* state(std::size_t layer) const { return s.states + layer * aev_block * program.widest; }
    T alpha() const { return static_cast<T>(program.spec.alpha); }

    // States of all hidden layers of one member.
    void forward(std::size_t member) const {
        const T* from = s.values;
        std::size_t from_stride = program.aev->length;
        for (std::size_t l = 0; l < hidden(); ++l) {
            const AniTables<T>& t = layers[l];
            multiply<T>(from, from_stride, t.forward.data() + member * t.n_in * t.out_stride, t.out_stride, t.n_in,
                        t.bias.data() + member * t.out_stride, false, rows, state(l), program.widest);
            for (int r = 0; r < rows; ++r)
                activate<T>(state(l) + static_cast<std::size_t>(r) * program.widest, t.out_stride, alpha());
            from = state(l), from_stride = program.widest;
        }
    }

    // Output of one atom; the last sum is taken in double.
    double output(std::size_t member, int row) const {
        const AniTables<T>& last = layers.back();
        const T* w = last.backward.data() + member * last.in_stride;
        const T* a = hidden() ? state(hidden() - 1) + static_cast<std::size_t>(row) * program.widest
                              : s.values + static_cast<std::size_t>(row) * program.aev->length;
        double sum = last.bias[member * last.out_stride];
        for (std::size_t k = 0; k < last.n_in; ++k) sum += static_cast<double>(w[k]) * static_cast<double>(a[k]);
        return sum;
    }

    // delta = weight w f'(state) of the last hidden layer, row by row.
    void begin_backward(std::size_t member, T weight) const {
        const AniTables<T>& last = layers.back();
        const T* w = last.backward.data() + member * last.in_stride;
        for (int r = 0; r < rows; ++r) {
            const std::size_t row = static_cast<std::size_t>(r) * program.widest;
            for (std::size_t k = 0; k < last.in_stride; k += Lanes<T>::n)
                put<T>(s.delta + row + k, weight * get(w + k) * slope_at<T>(get(state(hidden() - 1) + row + k), alpha()));
        }
    }

    // dE/dG of one member times `weight` into `to` (aev_block, in_stride of the first layer), or added to it.
    void backward(std::size_t member, T weight, bool add, T* to) const {
        begin_backward(member, weight);
        T *from = s.delta, *other = s.other;
        for (std::size_t l = hidden(); l-- > 0;) {
            const AniTables<T>& t = layers[l];
            const T* w = t.backward.data() + member * t.n_out * t.in_stride;
            if (l == 0) {
                multiply<T>(from, program.widest, w, t.in_stride, t.n_out, nullptr, add, rows, to, t.in_stride);
                return;
            }
            multiply<T>(from, program.widest, w, t.in_stride, t.n_out, nullptr, false, rows, other, program.widest);
            for (int r = 0; r < rows; ++r) {
                const std::size_t row = static_cast<std::size_t>(r) * program.widest;
                for (std::size_t k = 0; k < t.in_stride; k += Lanes<T>::n)
                    put<T>(other + row + k, get(other + row + k) * slope_at<T>(get(state(l - 1) + row + k), alpha()));
            }
            T* const swapped = from;
            from = other, other = swapped;
        }
    }
};

} // namespace ATHANOR_ISA
} // namespace athanor
