// Moment tensor potential of one block of atoms, one atom per vector lane. Compiled once per
// instruction set (see simd.hpp).
#include "mtp_angular.hpp"
#include "mtp_neighbours.hpp"

namespace athanor {
namespace ATHANOR_ISA {
namespace {

// Basic moments M_mu,abc = sum_j f_mu(r_j) x^a y^b z^c / r^(a+b+c).
void sum_moments(const MtpProgram& p, Scratch& s, std::size_t count) {
    constexpr int N = unroll_forward;
    const std::size_t size = s.slot_size;
    vec* total = at(s.moments, 0);
    for (int n = 0; n < p.n_summed; ++n) total[n] = splat(0);
    for (std::size_t k = 0; k < count; k += N) {
        const vec* v[N];
        vec x[N], y[N], z[N], f[N];
        for (int u = 0; u < N; ++u) {
            v[u] = at(s.slot, (k + u) * size);
            x[u] = v[u][3], y[u] = v[u][4], z[u] = v[u][5];
        }
        for (int mu = 0; mu < p.spec.n_radial; ++mu) {
            for (int u = 0; u < N; ++u) f[u] = v[u][9 + mu];
            add_moments<N>(total + p.offset[mu], p.rank[mu], x, y, z, f);
        }
    }
    for (const MtpProgram::Trace& t : p.traces) total[t.target] = total[t.whole] - total[t.first] - total[t.second];
}

// to[target] = constant + sum of multiplier * left * right, for all sums of a fold in their order.
inline void gather(const Fold& fold, vec* to, const vec* left, const vec* right) {
    const Fold::Entry* entries = fold.entries.data();
    const Fold::Part* parts = fold.parts.data();
    for (const Fold::Sum *sum = fold.sums.data(), *end = sum + fold.sums.size(); sum != end; ++sum) {
        vec total = splat(sum->constant);
        for (const Fold::Part *part = parts + sum->begin, *last = parts + sum->end; part != last; ++part) {
            vec inner = splat(0);
            for (const Fold::Entry *e = entries + part->begin, *stop = entries + part->end; e != stop; ++e)
                inner += left[e->left] * right[e->right];
            total += part->multiplier * inner;
        }
        to[sum->target] = total;
    }
}

// All products, then the site energies (eq. 2).
vec multiply(const MtpProgram& p, Scratch& s, double constant) {
    vec* m = at(s.moments, 0);
    gather(p.forward, m, m, m);
    vec energy = splat(constant);
    const std::int32_t* scalars = p.scalars.data();
    for (int k = 0, n = p.n_scalars(); k < n; ++k) energy += p.spec.moment_coeffs[k] * m[scalars[k]];
    return energy;
}

// Adjoints of all moments: dE_i/dM.
void reverse_products(const MtpProgram& p, Scratch& s) {
    vec* a = at(s.adjoints, 0);
    gather(p.reverse, a, a, at(s.moments, 0));
    for (const MtpProgram::Trace *begin = p.traces.data(), *t = begin + p.traces.size(); t-- != begin;) {
        a[t->whole] += a[t->target];
        a[t->first] -= a[t->target];
        a[t->second] -= a[t->target];
    }
}

// Add the gradient of one slot to forces and virial (xx yy zz yz xz xy).
inline void scatter(const vec* v, const vec* grad, const std::int32_t* atom, std::size_t stride, int count,
                    double* forces, vec* own, vec* virial) {
    for (int a = 0; a < 3; ++a) own[a] += grad[a], virial[a] += v[a] * grad[a];
    virial[3] += v[1] * grad[2], virial[4] += v[0] * grad[2], virial[5] += v[0] * grad[1];
    quad each[lanes];
    quads(grad, each);
    for (int l = 0; l < count; ++l)
        *reinterpret_cast<quad*>(forces + 4 * static_cast<std::size_t>(atom[l * stride])) -= each[l];
}

// dE_i/dc of every lane: S_mu times the radial basis, summed over neighbours of each species.
inline void add_radial_features(const Block& b, const Scratch& s, std::size_t slot, const vec* along, vec edge) {
    const MtpProgram& p = *b.program;
    const int n = p.spec.n_chebyshev, n_radial = p.spec.n_radial;
    const vec* t = at(s.basis, n * slot);
    vec* row = at(s.row, static_cast<std::size_t>(s.slot_type[slot]) * n_radial * n);
    for (int mu = 0; mu < n_radial; ++mu) {
        const vec factor = along[mu] * edge;
        for (int j = 0; j < n; ++j) row[mu * n + j] += factor * t[j];
    }
}

// Derivatives by all parameters: the radial ones are in scratch, the linear ones are the moments.
void write_features(const Block& b, const Scratch& s, BlockTarget& target) {
    const MtpProgram& p = *b.program;
    const std::size_t width = static_cast<std::size_t>(p.n_parameters());
    const std::size_t n = static_cast<std::size_t>(p.spec.n_species) * p.spec.n_radial * p.spec.n_chebyshev;
    const std::size_t species = static_cast<std::size_t>(p.n_radial_parameters());
    const int centre = b.system->types[b.atoms[0]];
    const vec *row = at(s.row, 0), *m = at(s.moments, 0);
    const auto put = [&](std::size_t column, vec value) {
        if (target.features)
            for (int l = 0; l < b.count; ++l) target.features[width * b.atoms[l] + column] = value[l];
        if (target.feature_sum && b.count == lanes) target.feature_sum[column] += sum(value);
        else if (target.feature_sum)
            for (int l = 0; l < b.count; ++l) target.feature_sum[column] += value[l];
    };
    for (std::size_t k = 0; k < n; ++k) put(centre * n + k, p.spec.scaling * row[k]);
    put(species + centre, splat(1));
    for (int k = 0; k < p.n_scalars(); ++k) put(species + p.spec.n_species + k, m[p.scalars[k]]);
}

// Forces, virial and the radial part of the features, by reverse mode through moments and vectors.
void backward(const Block& b, Scratch& s, std::size_t count, BlockTarget& target) {
    constexpr int N = unroll_backward;
    const MtpProgram& p = *b.program;
    const int n_radial = p.spec.n_radial;
    const std::size_t size = s.slot_size;
    const vec* adjoint = at(s.adjoints, 0);
    const bool features = target.features || target.feature_sum;
    vec own[3] = {}, virial[6] = {};
    if (features)
        for (int k = 0, n = p.spec.n_species * n_radial * p.spec.n_chebyshev; k < n; ++k) at(s.row, 0)[k] = splat(0);
    for (std::size_t k = 0; k < count; k += N) {
        const vec* v[N];
        vec x[N], y[N], z[N], g[3][N], slope[N], along[N][max_radial];
        for (int u = 0; u < N; ++u) {
            v[u] = at(s.slot, (k + u) * size);
            x[u] = v[u][3], y[u] = v[u][4], z[u] = v[u][5], slope[u] = v[u][7];
            for (int d = 0; d < 3; ++d) g[d][u] = splat(0);
        }
        for (int mu = 0; mu < n_radial; ++mu) {
            vec value[N], part[3][N];
            if (target.forces) polynomial<N>(adjoint + p.offset[mu], p.rank[mu], x, y, z, value, part);
            else polynomial_value<N>(adjoint + p.offset[mu], p.rank[mu], x, y, z, value);
            for (int u = 0; u < N; ++u) along[u][mu] = value[u];
            if (!target.forces) continue;
            for (int u = 0; u < N; ++u) {
                slope[u] += value[u] * v[u][9 + n_radial + mu];
                for (int d = 0; d < 3; ++d) g[d][u] += v[u][9 + mu] * part[d][u];
            }
        }
        for (int u = 0; u < N; ++u) {
            if (features) add_radial_features(b, s, k + u, along[u], v[u][8]);
            if (!target.forces) continue;
            const vec ug = x[u] * g[0][u] + y[u] * g[1][u] + z[u] * g[2][u];
            vec grad[3];
            for (int d = 0; d < 3; ++d) grad[d] = v[u][3 + d] * (slope[u] - ug * v[u][6]) + g[d][u] * v[u][6];
            scatter(v[u], grad, s.slot_atom + k + u, s.slots, b.count, target.forces, own, virial);
        }
    }
    if (!target.forces) return;
    for (int l = 0; l < b.count; ++l)
        for (int d = 0; d < 3; ++d) target.forces[4 * static_cast<std::size_t>(b.atoms[l]) + d] += own[d][l];
    // the sum over an atom's neighbours is symmetric, since its energy does not change on rotation
    static constexpr int voigt[9] = {0, 5, 4, 5, 1, 3, 4, 3, 2};
    for (int k = 0; k < 9; ++k) target.virial[k] += sum(virial[voigt[k]]);
}

// One potential on neighbours that are arranged; false when two atoms coincide.
bool run_program(const Block& b, Scratch& s, std::size_t count, BlockTarget& target) {
    const MtpProgram& p = *b.program;
    vec core = splat(0);
    if (!mend(b, s, count, radials(b, s, count), core, target)) return false;
    sum_moments(p, s, count);
    const vec energy = core + multiply(p, s, p.spec.species_coeffs[b.system->types[b.atoms[0]]]);
    for (int l = 0; l < b.count; ++l) {
        target.energy += energy[l];
        if (target.site_energies) target.site_energies[b.atoms[l]] = energy[l];
    }
    const bool features = target.features || target.feature_sum;
    if (!target.forces && !features) return true;
    reverse_products(p, s);
    backward(b, s, count, target);
    if (features) write_features(b, s, target);
    return true;
}

} // namespace

std::size_t run_block(const Block& block, Scratch& s, BlockTarget* targets) {
    std::size_t counts[lanes];
    if (const std::size_t needed = collect(block, s, counts)) return needed;
    Block b = block;
    // arranging is for the largest potential, where vectors of a slot lie for all
    const std::size_t count = arrange(b, s, counts), n = block.programs->size();
    for (std::size_t m = 0; m < n; ++m) {
        b.program = block.programs->data()[m];
        if (!run_program(b, s, count, targets[m])) return 0;
    }
    return 0;
}

std::size_t list_block(const Block& b, Scratch& s, double reach, std::size_t* counts) {
    return search(b, s, reach, counts);
}

} // namespace ATHANOR_ISA
} // namespace athanor
