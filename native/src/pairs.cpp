#include "athanor/pairs.hpp"

#include "search.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

namespace athanor {
namespace {

using Vec = std::array<double, 3>;

Vec cross(const Vec& a, const Vec& b) {
    return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double dot(const Vec& a, const Vec& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Vec unit(const Vec& a) {
    const double length = std::sqrt(dot(a, a));
    return {a[0] / length, a[1] / length, a[2] / length};
}

// The cell with its non-periodic directions replaced by unit vectors orthogonal to all others, so
// that fractional coordinates of the periodic directions do not depend on them.
std::array<Vec, 3> completed(const System& s) {
    std::array<Vec, 3> rows;
    int n_periodic = 0, kept = -1, open = -1;
    for (int k = 0; k < 3; ++k) {
        rows[k] = {s.cell[3 * k], s.cell[3 * k + 1], s.cell[3 * k + 2]};
        if (s.periodic[k]) {
            ++n_periodic;
            kept = k;
        } else {
            open = k;
        }
    }
    if (n_periodic == 0) return {Vec{1, 0, 0}, Vec{0, 1, 0}, Vec{0, 0, 1}};
    if (n_periodic == 2) {
        rows[open] = unit(cross(rows[(open + 1) % 3], rows[(open + 2) % 3]));
    } else if (n_periodic == 1) {
        const Vec axis = unit(rows[kept]);
        const int small = std::abs(axis[0]) < 0.6 ? 0 : (std::abs(axis[1]) < 0.6 ? 1 : 2);
        Vec helper = {0, 0, 0};
        helper[small] = 1;
        rows[(kept + 1) % 3] = unit(cross(axis, helper));
        rows[(kept + 2) % 3] = cross(axis, rows[(kept + 1) % 3]);
    }
    return rows;
}

struct Frame {
    std::array<Vec, 3> rows, reciprocal; // reciprocal[k] . rows[l] = delta_kl
    double reach[3]; // cutoff over the height of the cell, per periodic direction
    double volume;
};

Frame frame_of(const System& s, double cutoff) {
    Frame f;
    f.rows = completed(s);
    const double det = dot(f.rows[0], cross(f.rows[1], f.rows[2]));
    double lengths = 1;
    for (const Vec& row : f.rows) lengths *= std::sqrt(dot(row, row));
    if (!std::isfinite(det) || !(std::abs(det) > 1e-9 * lengths))
        throw StructureFault("the cell is singular: its periodic vectors are linearly dependent");
    for (int k = 0; k < 3; ++k) {
        const Vec c = cross(f.rows[(k + 1) % 3], f.rows[(k + 2) % 3]);
        f.reciprocal[k] = {c[0] / det, c[1] / det, c[2] / det};
        f.reach[k] = s.periodic[k] ? cutoff * std::sqrt(dot(f.reciprocal[k], f.reciprocal[k])) : 0;
    }
    f.volume = s.periodic[0] && s.periodic[1] && s.periodic[2] ? std::abs(det) : 0.0;
    return f;
}

struct Points {
    std::vector<double> x, y, z;
    std::vector<std::int32_t> atom;

    void add(const Vec& r, std::int32_t i) {
        x.push_back(r[0]), y.push_back(r[1]), z.push_back(r[2]);
        atom.push_back(i);
    }
};

// Refuse before memory is taken: the number of points is known from the reach of the cutoff.
void check_size(const System& s, const Frame& f) {
    double images = s.n_atoms;
    for (int k = 0; k < 3; ++k) images *= 1 + 2 * f.reach[k];
    if (!(images < static_cast<double>(max_points)))
        throw StructureFault("the cell is so thin that the cutoff reaches over " +
                             std::to_string(images) + " periodic images; check the cell and units");
}

// Largest whole number not above `value`; without SSE4.1 that of the library is a call.
double whole_below(double value) {
    if (!(std::abs(value) < 1e15)) return std::floor(value);
    const auto cut = static_cast<double>(static_cast<std::int64_t>(value));
    return cut > value ? cut - 1 : cut;
}

// How far the images of an atom go in one periodic direction, by its fractional coordinate.
struct Reach {
    int low[3] = {}, high[3] = {};
    bool none() const { return !(low[0] | low[1] | low[2] | high[0] | high[1] | high[2]); }
};

// Wrap an atom into the cell; which of its images are within reach of the cell.
Reach wrapped(const System& s, const Frame& f, Vec& r) {
    constexpr double slack = 1e-9; // rounding of fractional coordinates
    Reach reach;
    const Vec given = r;
    for (int k = 0; k < 3; ++k) {
        if (!s.periodic[k]) continue;
        const double raw = dot(f.reciprocal[k], given), down = whole_below(raw), fraction = raw - down;
        reach.low[k] = -static_cast<int>(whole_below(f.reach[k] + slack + fraction));
        reach.high[k] = static_cast<int>(whole_below(1 + f.reach[k] + slack - fraction));
        for (int d = 0; d < 3; ++d) r[d] -= down * f.rows[k][d];
    }
    return reach;
}

// Every atom wrapped into the cell (first, in atom order), then its images within reach of the cell.
Points points_of(const System& s, const Frame& f) {
    check_size(s, f);
    Points p;
    std::vector<Reach> reaches(s.n_atoms);
    for (int i = 0; i < s.n_atoms; ++i) {
        Vec r = {s.positions[3 * i], s.positions[3 * i + 1], s.positions[3 * i + 2]};
        reaches[i] = wrapped(s, f, r);
        p.add(r, i);
    }
    for (int i = 0; i < s.n_atoms; ++i) {
        const Reach& reach = reaches[i];
        if (reach.none()) continue;
        const Vec w = {p.x[i], p.y[i], p.z[i]};
        for (int a = reach.low[0]; a <= reach.high[0]; ++a)
            for (int b = reach.low[1]; b <= reach.high[1]; ++b)
                for (int c = reach.low[2]; c <= reach.high[2]; ++c) {
                    if (a == 0 && b == 0 && c == 0) continue;
                    Vec r = w;
                    for (int d = 0; d < 3; ++d) r[d] += a * f.rows[0][d] + b * f.rows[1][d] + c * f.rows[2][d];
                    p.add(r, i);
                }
    }
    return p;
}

// Bins as wide as the cutoff across, narrow along x, so that a row of bins is nearly sorted by x;
// wider where that would make many more bins than points.
void lay_bins(Grid& g, const Points& p) {
    constexpr double narrow = 0.25; // of the cutoff
    const std::vector<double>* axes[3] = {&p.x, &p.y, &p.z};
    double extent[3], edge[3] = {narrow * g.cutoff, g.cutoff, g.cutoff};
    for (int k = 0; k < 3; ++k) {
        const auto [low, high] = std::minmax_element(axes[k]->begin(), axes[k]->end());
        g.origin[k] = *low;
        extent[k] = *high - *low;
    }
    const double limit = 64.0 + 4.0 * static_cast<double>(p.x.size());
    for (;;) {
        double total = 1;
        for (int k = 0; k < 3; ++k) total *= std::floor(extent[k] / edge[k]) + 1;
        if (total <= limit) break;
        for (double& e : edge) e *= 1.26; // doubles the volume of a bin
    }
    for (int k = 0; k < 3; ++k) {
        g.bins[k] = static_cast<int>(std::floor(extent[k] / edge[k])) + 1;
        g.width[k] = edge[k];
        g.inverse_width[k] = 1 / edge[k];
    }
}

void sort_into_bins(Grid& g, const System& s, const Points& p) {
    const std::size_t n = p.x.size();
    const std::size_t n_bins = static_cast<std::size_t>(g.bins[0]) * g.bins[1] * g.bins[2];
    std::vector<std::int32_t> bin(n);
    g.start.assign(n_bins + 1, 0);
    for (std::size_t q = 0; q < n; ++q) {
        bin[q] = g.bin(0, p.x[q]) + g.bins[0] * (g.bin(1, p.y[q]) + g.bins[1] * g.bin(2, p.z[q]));
        ++g.start[bin[q] + 1];
    }
    std::partial_sum(g.start.begin(), g.start.end(), g.start.begin());
    std::vector<std::int32_t> next(g.start.begin(), g.start.end() - 1);
    constexpr std::size_t padding = 8;
    const double far = std::numeric_limits<double>::infinity();
    for (auto* axis : {&g.x, &g.y, &g.z}) {
        axis->resize(n + padding);
        std::fill(axis->begin() + n, axis->end(), far);
    }
    g.atom.assign(n + padding, 0);
    g.type.assign(n + padding, 0);
    g.number.resize(n + padding);
    std::iota(g.number.begin(), g.number.end(), 0);
    g.home.resize(s.n_atoms);
    for (std::size_t q = 0; q < n; ++q) {
        const std::int32_t place = next[bin[q]]++;
        g.x[place] = p.x[q], g.y[place] = p.y[q], g.z[place] = p.z[q];
        g.atom[place] = p.atom[q];
        g.type[place] = s.types[p.atom[q]];
        if (q < static_cast<std::size_t>(s.n_atoms)) g.home[q] = place;
    }
}

// Atoms by species, then by the place of their point: few species, so one pass for each.
void sort_atoms(Grid& g, const System& s) {
    std::int32_t n_types = 0;
    for (int i = 0; i < s.n_atoms; ++i) n_types = std::max(n_types, s.types[i] + 1);
    std::vector<std::vector<std::int32_t>> by_type(n_types);
    for (std::int32_t p = 0; p < g.start.back(); ++p) {
        const std::int32_t i = g.atom[p];
        if (g.home[i] == p) by_type[s.types[i]].push_back(i);
    }
    g.order.clear();
    for (const auto& atoms : by_type) g.order.insert(g.order.end(), atoms.begin(), atoms.end());
}

} // namespace

void Grid::build(const System& system, double cutoff_radius) {
    if (system.n_atoms < 1) throw StructureFault("it has no atoms");
    cutoff = cutoff_radius;
    const Frame frame = frame_of(system, cutoff);
    const Points points = points_of(system, frame);
    volume = frame.volume;
    lay_bins(*this, points);
    sort_into_bins(*this, system, points);
    sort_atoms(*this, system);
}

PairList all_pairs(const System& system, double cutoff) {
    Grid grid;
    grid.build(system, cutoff);
    PairList list;
    std::vector<double> memory;
    std::vector<std::int32_t> points;
    plain::Found found[2] = {};
    for (int i = 0; i < system.n_atoms; ++i) {
        const std::int32_t self = grid.home[i];
        const double at[3] = {grid.x[self], grid.y[self], grid.z[self]};
        while (!plain::near_box(grid, at, at, cutoff, found[0])) {
            const std::size_t room = found[0].count + 128, stride = room + plain::lanes;
            memory.resize(6 * stride), points.resize(2 * stride);
            for (int k = 0; k < 2; ++k) {
                double* m = memory.data() + 3 * k * stride;
                found[k] = {m, m + stride, m + 2 * stride, points.data() + k * stride, room, 0};
            }
        }
        plain::near_point(grid, found[0], self, cutoff, found[1]);
        for (std::size_t n = 0; n < found[1].count; ++n) {
            list.i.push_back(i);
            list.j.push_back(grid.atom[found[1].point[n]]);
            for (const double* axis : {found[1].x, found[1].y, found[1].z}) list.vectors.push_back(axis[n]);
        }
    }
    return list;
}

} // namespace athanor
