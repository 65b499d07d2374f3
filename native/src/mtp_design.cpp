// Design rows of one atom: derivatives of energy, forces and virial by every parameter. Compiled
// once per instruction set (see simd.hpp); here vectors run over parameters.
//
// With D = dM/dr_j (basic moments by neighbour positions) and A = dB/dM (scalar functions by basic
// moments), the rows of the linear coefficients are D A. For radial coefficients c the same product
// with the tangent d(dE_i/dM)/dc in place of A gives the part through the products, and the
// derivative of D by c the rest.
#include "mtp_design.hpp"
#include "search.hpp"

namespace athanor {
namespace ATHANOR_ISA {
namespace {

// Radial basis and functions of one neighbour; below min_dist with a core a straight line.
void radial_of(const DesignJob& job, DesignScratch& s, int i, std::size_t n, double r) {
    const MtpSpec& spec = job.program->spec;
    const int count = spec.n_chebyshev, n_radial = spec.n_radial;
    double *q = s.basis + n * 2 * count, *dq = q + count;
    if (!spec.core_numbers.empty() && r < spec.min_dist) {
        const double* edge = job.program->edge.data();
        for (int k = 0; k < count; ++k)
            q[k] = edge[k] + edge[count + k] * (r - spec.min_dist), dq[k] = edge[count + k];
    } else {
        const double scale = 2 / (spec.max_dist - spec.min_dist);
        const double xi = (2 * r - spec.min_dist - spec.max_dist) * 0.5 * scale, w = r - spec.max_dist;
        double t0 = 1, t1 = xi, d0 = 0, d1 = 1;
        for (int k = 0; k < count; ++k) {
            q[k] = t0 * w * w, dq[k] = d0 * scale * w * w + 2 * t0 * w;
            const double t2 = 2 * xi * t1 - t0, d2 = 2 * t1 + 2 * xi * d1 - d0;
            t0 = t1, t1 = t2, d0 = d1, d1 = d2;
        }
    }
    const int pair = job.system->types[i] * spec.n_species + job.grid->type[s.points[n]];
    const double* c = job.program->scaled.data() + static_cast<std::size_t>(pair) * n_radial * count;
    double *f = s.functions + n * 2 * n_radial, *df = f + n_radial;
    for (int mu = 0; mu < n_radial; ++mu) {
        f[mu] = df[mu] = 0;
        for (int k = 0; k < count; ++k) f[mu] += c[mu * count + k] * q[k], df[mu] += c[mu * count + k] * dq[k];
    }
}

// Neighbours, unit vectors, monomials and basic moments; false when two atoms coincide.
bool environment(DesignJob& job, DesignScratch& s, int i, std::size_t count) {
    const MtpProgram& p = *job.program;
    for (int m = 0; m < p.n_moments; ++m) s.moments[m] = 0;
    for (std::size_t n = 0; n < count; ++n) {
        const double d[3] = {s.found[n], s.found[s.room + n], s.found[2 * s.room + n]};
        const double r = __builtin_sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        if (r < coincident) {
            job.fault[0] = i, job.fault[1] = job.grid->atom[s.points[n]];
            return false;
        }
        double* u = s.unit + 4 * n;
        for (int k = 0; k < 3; ++k) u[k] = d[k] / r;
        u[3] = 1 / r;
        radial_of(job, s, i, n, r);
        double* m = s.monomials + n * p.n_monomials;
        m[0] = 1;
        for (int k = 1; k < p.n_monomials; ++k) m[k] = m[p.parent[k]] * u[p.axis[k]];
        for (int mu = 0; mu < p.spec.n_radial; ++mu) {
            const double f = s.functions[n * 2 * p.spec.n_radial + mu];
            for (int k = 0; k < p.prefix[mu]; ++k) s.moments[p.offset[mu] + k] += f * m[k];
        }
    }
    for (const MtpProgram::Trace* t = p.traces.data(); t != p.traces.data() + p.traces.size(); ++t)
        s.moments[t->target] = s.moments[t->whole] - s.moments[t->first] - s.moments[t->second];
    return true;
}

void multiply(const MtpProgram& p, double* m) {
    for (std::size_t n = 0; n < p.runs.size(); ++n) {
        const MtpProgram::Run& run = p.runs[n];
        double total = 0;
        for (int k = run.begin; k < run.end; ++k)
            total += p.products[k].multiplier * m[p.products[k].i] * m[p.products[k].j];
        m[run.target] = total;
    }
}

inline double* linear_row(const DesignJob& job, const DesignScratch& s, int moment, std::size_t block,
                          std::size_t position) {
    const MtpProgram& p = *job.program;
    if (moment < p.n_basic) return s.matrix + moment * job.sizes.columns + 8 * block;
    return s.sparse + s.sparse_start[moment] + 8 * position;
}

// rows[whole] += rows[target] and so on, for all moments that follow from others, last first.
inline void reverse_traces(const MtpProgram& p, double* rows, std::size_t width, std::size_t stride) {
    for (const MtpProgram::Trace *begin = p.traces.data(), *t = begin + p.traces.size(); t-- != begin;) {
        const double* from = rows + t->target * stride;
        double *whole = rows + t->whole * stride, *first = rows + t->first * stride, *second = rows + t->second * stride;
        for (std::size_t c = 0; c < width; ++c) whole[c] += from[c], first[c] -= from[c], second[c] -= from[c];
    }
}

// to[factor] += value * from[target], over the blocks of scalar functions that `target` reaches.
void pass_down(const DesignJob& job, DesignScratch& s, int target, int factor, double value) {
    const auto &above = job.program->blocks[target], &below = job.program->blocks[factor];
    std::size_t position = 0;
    for (std::size_t k = 0; k < above.size(); ++k) {
        while (below[position] != above[k]) ++position;
        const double* from = linear_row(job, s, target, above[k], k);
        double* to = linear_row(job, s, factor, below[position], position);
        for (int c = 0; c < 8; c += lanes) store(to + c, load(to + c) + value * load(from + c));
    }
}

// dB_k/dM for all scalar functions k at once, by reverse mode through the products.
void linear_adjoints(DesignJob& job, DesignScratch& s) {
    const MtpProgram& p = *job.program;
    for (std::size_t k = 0; k < p.n_basic * job.sizes.columns; ++k) s.matrix[k] = 0;
    for (std::size_t k = 0; k < job.sizes.sparse; ++k) s.sparse[k] = 0;
    for (int k = 0; k < p.n_scalars(); ++k) {
        const int m = p.scalars[k];
        std::size_t position = 0;
        while (p.blocks[m][position] != k / 8) ++position;
        linear_row(job, s, m, k / 8, position)[k % 8] += 1;
    }
    for (std::size_t n = p.runs.size(); n-- > 0;) {
        const MtpProgram::Run& run = p.runs[n];
        for (int k = run.begin; k < run.end; ++k) {
            const Product& f = p.products[k];
            pass_down(job, s, run.target, f.i, f.multiplier * s.moments[f.j]);
            pass_down(job, s, run.target, f.j, f.multiplier * s.moments[f.i]);
        }
    }
    reverse_traces(p, s.matrix, job.sizes.linear, job.sizes.columns);
}

void value_adjoints(const MtpProgram& p, const DesignScratch& s) {
    double* a = s.adjoints;
    for (int m = 0; m < p.n_moments; ++m) a[m] = 0;
    for (int k = 0; k < p.n_scalars(); ++k) a[p.scalars[k]] += p.spec.moment_coeffs[k];
    for (std::size_t n = p.runs.size(); n-- > 0;)
        for (int k = p.runs[n].begin; k < p.runs[n].end; ++k) {
            const Product& f = p.products[k];
            const double t = f.multiplier * a[p.runs[n].target];
            a[f.i] += t * s.moments[f.j];
            a[f.j] += t * s.moments[f.i];
        }
    reverse_traces(p, a, 1, 1);
}

// Tangents of the moments by the radial coefficients (species of neighbour, mu, q) of this centre.
void basic_tangents(const DesignJob& job, DesignScratch& s, std::size_t count) {
    const MtpProgram& p = *job.program;
    const int n_q = p.spec.n_chebyshev, n_radial = p.spec.n_radial;
    const std::size_t width = job.sizes.radial;
    for (std::size_t k = 0; k < p.n_moments * width; ++k) s.tangents[k] = s.tangent_adjoints[k] = 0;
    for (std::size_t n = 0; n < count; ++n) {
        const double *q = s.basis + n * 2 * n_q, *m = s.monomials + n * p.n_monomials;
        const int type = job.grid->type[s.points[n]];
        for (int mu = 0; mu < n_radial; ++mu)
            for (int k = 0; k < p.prefix[mu]; ++k) {
                double* t = s.tangents + (p.offset[mu] + k) * width + (type * n_radial + mu) * n_q;
                const double factor = p.spec.scaling * m[k];
                int c = 0;
                for (; c + lanes <= n_q; c += lanes) store(t + c, load(t + c) + factor * load(q + c));
                for (; c < n_q; ++c) t[c] += factor * q[c];
            }
    }
    for (const MtpProgram::Trace* t = p.traces.data(); t != p.traces.data() + p.traces.size(); ++t)
        for (std::size_t c = 0; c < width; ++c)
            s.tangents[t->target * width + c] = s.tangents[t->whole * width + c] -
                                                s.tangents[t->first * width + c] - s.tangents[t->second * width + c];
}

// Forward tangents of all moments, then tangents of all adjoints (forward over reverse).
void radial_adjoints(const DesignJob& job, DesignScratch& s) {
    const MtpProgram& p = *job.program;
    const std::size_t width = job.sizes.radial;
    const double *m = s.moments, *a = s.adjoints;
    double *dm = s.tangents, *da = s.tangent_adjoints;
    for (std::size_t n = 0; n < p.runs.size(); ++n) {
        double* to = dm + p.runs[n].target * width;
        for (int k = p.runs[n].begin; k < p.runs[n].end; ++k) {
            const Product& f = p.products[k];
            const double x = f.multiplier * m[f.j], y = f.multiplier * m[f.i];
            const double *di = dm + f.i * width, *dj = dm + f.j * width;
            for (std::size_t c = 0; c < width; ++c) to[c] += x * di[c] + y * dj[c];
        }
    }
    for (std::size_t n = p.runs.size(); n-- > 0;) {
        const double* above = da + p.runs[n].target * width;
        for (int k = p.runs[n].begin; k < p.runs[n].end; ++k) {
            const Product& f = p.products[k];
            const double t = f.multiplier * a[p.runs[n].target];
            const double x = f.multiplier * m[f.j], y = f.multiplier * m[f.i];
            double *ai = da + f.i * width, *aj = da + f.j * width;
            const double *di = dm + f.i * width, *dj = dm + f.j * width;
            for (std::size_t c = 0; c < width; ++c) ai[c] += x * above[c] + t * dj[c];
            for (std::size_t c = 0; c < width; ++c) aj[c] += y * above[c] + t * di[c];
        }
    }
    reverse_traces(p, da, width, width);
    for (int b = 0; b < p.n_summed; ++b) {
        double* to = s.matrix + b * job.sizes.columns + job.sizes.linear;
        for (std::size_t c = 0; c < width; ++c) to[c] = da[b * width + c];
    }
}

// dm/du of all monomials of one neighbour into scratch.slopes, and nu m / r after them.
inline void slopes_of(const MtpProgram& p, DesignScratch& s, const double* m, double inverse) {
    const int n = p.n_monomials;
    for (int k = 0; k < n; ++k) {
        double rank = 0;
        for (int d = 0; d < 3; ++d) {
            s.slopes[d * n + k] = p.lower[k][d] < 0 ? 0 : p.power[k][d] * m[p.lower[k][d]];
            rank += p.power[k][d];
        }
        s.slopes[3 * n + k] = rank * m[k] * inverse;
    }
}

// dM_mu,abc/dr_j = u (f' m - f nu m / r) + f/r dm/du, for every neighbour and direction.
void moment_gradients(const DesignJob& job, DesignScratch& s, std::size_t count) {
    const MtpProgram& p = *job.program;
    const double* falling = s.slopes + 3 * p.n_monomials;
    for (std::size_t n = 0; n < count; ++n) {
        const double *u = s.unit + 4 * n, *m = s.monomials + n * p.n_monomials;
        const double *f = s.functions + n * 2 * p.spec.n_radial, *df = f + p.spec.n_radial;
        slopes_of(p, s, m, u[3]);
        for (int d = 0; d < 3; ++d) {
            double* out = s.gradients + (3 * n + d) * p.n_summed;
            const double* slope = s.slopes + d * p.n_monomials;
            for (int mu = 0; mu < p.spec.n_radial; ++mu) {
                const double rise = u[d] * df[mu], fall = u[d] * f[mu], turn = f[mu] * u[3];
                double* to = out + p.offset[mu];
                for (int k = 0, end = p.prefix[mu]; k < end; ++k)
                    to[k] = rise * m[k] - fall * falling[k] + turn * slope[k];
            }
        }
    }
}

// C = D A for R rows and V vectors of columns.
template <int R, int V>
inline void tile(const double* d, std::size_t inner, const double* a, double* c, std::size_t width) {
    vec total[R][V];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) total[r][v] = splat(0);
    for (std::size_t k = 0; k < inner; ++k) {
        vec row[V];
        for (int v = 0; v < V; ++v) row[v] = load(a + k * width + v * lanes);
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) total[r][v] += d[r * inner + k] * row[v];
    }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) store(c + r * width + v * lanes, total[r][v]);
}

template <int V>
void panel(const double* d, std::size_t n_rows, std::size_t inner, const double* a, double* c, std::size_t width) {
    std::size_t r = 0;
    for (; r + 6 <= n_rows; r += 6) tile<6, V>(d + r * inner, inner, a, c + r * width, width);
    for (; r < n_rows; ++r) tile<1, V>(d + r * inner, inner, a, c + r * width, width);
}

void multiply_matrices(const DesignJob& job, DesignScratch& s, std::size_t n_rows) {
    const std::size_t width = job.sizes.columns, inner = job.program->n_summed;
    constexpr std::size_t wide = lanes == 8 ? 4 : 2;
    std::size_t c = 0;
    for (; c + wide * lanes <= width; c += wide * lanes)
        panel<wide>(s.gradients, n_rows, inner, s.matrix + c, s.rows + c, width);
    for (; c < width; c += lanes) panel<1>(s.gradients, n_rows, inner, s.matrix + c, s.rows + c, width);
}

// The part of the radial columns that comes from the change of dM/dr_j itself, and their energy.
void add_direct(const DesignJob& job, DesignScratch& s, int i, std::size_t count) {
    const MtpProgram& p = *job.program;
    const int n_q = p.spec.n_chebyshev, n_radial = p.spec.n_radial;
    const std::size_t first = static_cast<std::size_t>(job.system->types[i]) * p.spec.n_species * n_radial * n_q;
    for (std::size_t n = 0; n < count; ++n) {
        const double *u = s.unit + 4 * n, *m = s.monomials + n * p.n_monomials;
        const double *q = s.basis + n * 2 * n_q, *dq = q + n_q;
        const int type = job.grid->type[s.points[n]];
        slopes_of(p, s, m, u[3]);
        for (int mu = 0; mu < n_radial; ++mu) {
            const double *a = s.adjoints + p.offset[mu], *sx = s.slopes, *sy = sx + p.n_monomials;
            const double* sz = sy + p.n_monomials;
            double along = 0, g[3] = {};
            for (int k = 0, end = p.prefix[mu]; k < end; ++k)
                along += a[k] * m[k], g[0] += a[k] * sx[k], g[1] += a[k] * sy[k], g[2] += a[k] * sz[k];
            const double ug = u[0] * g[0] + u[1] * g[1] + u[2] * g[2];
            const std::size_t column = static_cast<std::size_t>(type * n_radial + mu) * n_q;
            for (int c = 0; c < n_q; ++c) {
                for (int d = 0; d < 3; ++d)
                    s.rows[(3 * n + d) * job.sizes.columns + job.sizes.linear + column + c] +=
                        p.spec.scaling * (u[d] * (dq[c] * along - q[c] * ug * u[3]) + q[c] * u[3] * g[d]);
                job.target->energy[first + column + c] += p.spec.scaling * along * q[c];
            }
        }
    }
}

// Add a row segment to the force rows of both atoms and to the virial rows.
inline void add_segment(const DesignJob& job, const DesignScratch& s, int i, std::size_t n, std::size_t from,
                        std::size_t to, std::size_t width) {
    const auto all = static_cast<std::size_t>(n_columns(*job.program, job.target->radial));
    const std::size_t j = static_cast<std::size_t>(job.grid->atom[s.points[n]]);
    const double d[3] = {s.found[n], s.found[s.room + n], s.found[2 * s.room + n]};
    static constexpr int voigt[6][2] = {{0, 0}, {1, 1}, {2, 2}, {1, 2}, {0, 2}, {0, 1}};
    for (int a = 0; a < 3; ++a) {
        const double* row = s.rows + (3 * n + a) * job.sizes.columns + from;
        double* fj = job.target->forces + (3 * j + a) * all + to;
        double* fi = job.target->forces + (3 * static_cast<std::size_t>(i) + a) * all + to;
        for (std::size_t c = 0; c < width; ++c) fj[c] -= row[c];
        for (std::size_t c = 0; c < width; ++c) fi[c] += row[c];
        for (int v = 0; v < 6; ++v) {
            // half of each ordering: the sum over pairs is symmetric
            const double x = (voigt[v][1] == a ? 0.5 * d[voigt[v][0]] : 0) + (voigt[v][0] == a ? 0.5 * d[voigt[v][1]] : 0);
            if (x == 0) continue;
            double* w = job.target->virial + v * all + to;
            for (std::size_t c = 0; c < width; ++c) w[c] += x * row[c];
        }
    }
}

} // namespace

std::size_t design_atom(DesignJob& job, DesignScratch& s, int i) {
    const MtpProgram& p = *job.program;
    const Grid& g = *job.grid;
    const std::int32_t self = g.home[i];
    const double at[3] = {g.x[self], g.y[self], g.z[self]};
    Found near = {s.near, s.near + s.room, s.near + 2 * s.room, s.near_point, s.room - lanes, 0};
    Found found = {s.found, s.found + s.room, s.found + 2 * s.room, s.points, s.room - lanes, 0};
    if (!near_box(g, at, at, g.cutoff, near)) return near.count;
    if (!near_point(g, near, self, g.cutoff, found)) return near.count;
    const std::size_t count = found.count;
    if (!environment(job, s, i, count)) return 0;
    multiply(p, s.moments);
    linear_adjoints(job, s);
    if (job.target->radial) {
        value_adjoints(p, s);
        basic_tangents(job, s, count);
        radial_adjoints(job, s);
    }
    moment_gradients(job, s, count);
    multiply_matrices(job, s, 3 * count);
    if (job.target->radial) add_direct(job, s, i, count);
    const std::size_t n_pair = static_cast<std::size_t>(p.spec.n_species) * p.spec.n_radial * p.spec.n_chebyshev;
    const std::size_t linear = job.target->radial ? p.n_radial_parameters() : 0;
    for (std::size_t n = 0; n < count; ++n) {
        add_segment(job, s, i, n, 0, linear + p.spec.n_species, p.n_scalars());
        if (job.target->radial)
            add_segment(job, s, i, n, job.sizes.linear, job.system->types[i] * n_pair, n_pair);
    }
    double* energy = job.target->energy + linear;
    energy[job.system->types[i]] += 1;
    for (int k = 0; k < p.n_scalars(); ++k) energy[p.spec.n_species + k] += s.moments[p.scalars[k]];
    return 0;
}

} // namespace ATHANOR_ISA
} // namespace athanor
