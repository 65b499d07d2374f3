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
};

// Refuse before memory is taken: the number of points is known from the reach of the cutoff.
void check_size(const System& s, const Frame& f) {
    double images = s.n_atoms;
    for (int k = 0; k < 3; ++k) images *= 1 + 2 * f.reach[k];
    if (!(images < static_cast<double>(max_points)))
        throw StructureFault("the cell is so thin that the cutoff reaches over " +
                             std::to_string(images) + " periodic images; check the cell and units");
}

// Every atom wrapped into the cell (first, in atom order), then its images within reach of the cell.
Points points_of(const System& s, const Frame& f) {
    check_size(s, f);
    Points p;
    constexpr double slack = 1e-9; // rounding of fractional coordinates
    for (int pass = 0; pass < 2; ++pass) {
        for (int i = 0; i < s.n_atoms; ++i) {
            Vec r = {s.positions[3 * i], s.positions[3 * i + 1], s.positions[3 * i + 2]};
            double frac[3] = {};
            int low[3] = {}, high[3] = {};
            for (int k = 0; k < 3; ++k) {
                if (!s.periodic[k]) continue;
                const double raw = dot(f.reciprocal[k], r);
                frac[k] = raw - std::floor(raw);
                low[k] = static_cast<int>(std::ceil(-f.reach[k] - slack - frac[k]));
                high[k] = static_cast<int>(std::floor(1 + f.reach[k] + slack - frac[k]));
            }
            Vec w = r;
            for (int k = 0; k < 3; ++k) {
                if (!s.periodic[k]) continue;
                const double shift = -std::floor(dot(f.reciprocal[k], r));
                for (int d = 0; d < 3; ++d) w[d] += shift * f.rows[k][d];
            }
            if (pass == 0) {
                p.x.push_back(w[0]), p.y.push_back(w[1]), p.z.push_back(w[2]);
                p.atom.push_back(i);
                continue;
            }
            for (int a = low[0]; a <= high[0]; ++a)
                for (int b = low[1]; b <= high[1]; ++b)
                    for (int c = low[2]; c <= high[2]; ++c) {
                        if (a == 0 && b == 0 && c == 0) continue;
                        p.x.push_back(w[0] + a * f.rows[0][0] + b * f.rows[1][0] + c * f.rows[2][0]);
                        p.y.push_back(w[1] + a * f.rows[0][1] + b * f.rows[1][1] + c * f.rows[2][1]);
                        p.z.push_back(w[2] + a * f.rows[0][2] + b * f.rows[1][2] + c * f.rows[2][2]);
                        p.atom.push_back(i);
                    }
        }
    }
    return p;
}

// Bins as wide as the cutoff (measured: faster than half or 0.7 of it, for long runs of points beat
// fewer of them), wider where that would make many more bins than points.
void lay_bins(Grid& g, const Points& p) {
    const std::vector<double>* axes[3] = {&p.x, &p.y, &p.z};
    double extent[3];
    for (int k = 0; k < 3; ++k) {
        const auto [low, high] = std::minmax_element(axes[k]->begin(), axes[k]->end());
        g.origin[k] = *low;
        extent[k] = *high - *low;
    }
    double edge = g.cutoff;
    const double limit = 64.0 + 4.0 * static_cast<double>(p.x.size());
    for (;;) {
        double total = 1;
        for (int k = 0; k < 3; ++k) total *= std::floor(extent[k] / edge) + 1;
        if (total <= limit) break;
        edge *= 1.26; // doubles the volume of a bin
    }
    for (int k = 0; k < 3; ++k) {
        g.bins[k] = static_cast<int>(std::floor(extent[k] / edge)) + 1;
        g.width[k] = edge;
        g.inverse_width[k] = 1 / edge;
    }
}

int bin_of(const Grid& g, int axis, double value) {
    const int b = static_cast<int>((value - g.origin[axis]) * g.inverse_width[axis]);
    return std::min(std::max(b, 0), g.bins[axis] - 1);
}

void sort_into_bins(Grid& g, const System& s, const Points& p) {
    const std::size_t n = p.x.size();
    const std::size_t n_bins = static_cast<std::size_t>(g.bins[0]) * g.bins[1] * g.bins[2];
    std::vector<std::int32_t> bin(n);
    g.start.assign(n_bins + 1, 0);
    for (std::size_t q = 0; q < n; ++q) {
        bin[q] = bin_of(g, 0, p.x[q]) +
                 g.bins[0] * (bin_of(g, 1, p.y[q]) + g.bins[1] * bin_of(g, 2, p.z[q]));
        ++g.start[bin[q] + 1];
    }
    std::partial_sum(g.start.begin(), g.start.end(), g.start.begin());
    std::vector<std::int32_t> next(g.start.begin(), g.start.end() - 1);
    constexpr std::size_t padding = 8;
    const double far = std::numeric_limits<double>::infinity();
    for (auto* axis : {&g.x, &g.y, &g.z}) axis->assign(n + padding, far);
    g.atom.assign(n + padding, 0);
    g.type.assign(n + padding, 0);
    g.home.resize(s.n_atoms);
    for (std::size_t q = 0; q < n; ++q) {
        const std::int32_t place = next[bin[q]]++;
        g.x[place] = p.x[q], g.y[place] = p.y[q], g.z[place] = p.z[q];
        g.atom[place] = p.atom[q];
        g.type[place] = s.types[p.atom[q]];
        if (q < static_cast<std::size_t>(s.n_atoms)) g.home[q] = place;
    }
}

} // namespace

void Grid::build(const System& system, double cutoff_radius) {
    cutoff = cutoff_radius;
    const Frame frame = frame_of(system, cutoff);
    const Points points = points_of(system, frame);
    volume = frame.volume;
    lay_bins(*this, points);
    sort_into_bins(*this, system, points);
    order.resize(system.n_atoms);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        if (system.types[a] != system.types[b]) return system.types[a] < system.types[b];
        return home[a] < home[b];
    });
}

PairList all_pairs(const System& system, double cutoff) {
    Grid grid;
    grid.build(system, cutoff);
    PairList list;
    std::vector<double> buffer;
    std::vector<std::int32_t> points;
    for (int i = 0; i < system.n_atoms; ++i) {
        std::size_t room = std::max<std::size_t>(points.size(), 256);
        std::size_t found;
        for (;;) {
            points.resize(room), buffer.resize(3 * room);
            found = plain::search(grid, grid.home[i], buffer.data(), buffer.data() + room,
                                  buffer.data() + 2 * room, points.data(), room);
            if (found + 16 <= room) break;
            room = found + 16;
        }
        for (std::size_t n = 0; n < found; ++n) {
            list.i.push_back(i);
            list.j.push_back(grid.atom[points[n]]);
            for (int d = 0; d < 3; ++d) list.vectors.push_back(buffer[d * room + n]);
        }
    }
    return list;
}

} // namespace athanor
