// Environment vectors of many structures: dispatch between instruction sets, threads over structures.
#include "aev_kernel.hpp"
#include "aev_run.hpp"
#include "threads.hpp"

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <string>

namespace athanor {

template <typename T> AevTables<T>::AevTables(const AevSpec& spec) {
    const std::size_t padded = (spec.shf_r.size() + widest_vector - 1) / widest_vector * widest_vector;
    shf_r.assign(spec.shf_r.begin(), spec.shf_r.end()), shf_r.resize(padded, T{});
    amplitude.assign(spec.shf_r.size(), static_cast<T>(0.25)), amplitude.resize(padded, T{});
    shf_a.assign(spec.shf_a.begin(), spec.shf_a.end());
    for (const double z : spec.shf_z) {
        cos_half.push_back(static_cast<T>(std::cos(z / 2)));
        sin_half.push_back(static_cast<T>(std::sin(z / 2)));
    }
}

namespace {

const AevSpec& checked(const AevSpec& s) {
    const auto positive = [](double value) { return std::isfinite(value) && value > 0; };
    if (s.n_species < 1) throw std::invalid_argument("at least one species is needed");
    if (!positive(s.radial_cutoff) || !positive(s.angular_cutoff)) throw std::invalid_argument("cutoffs must be above zero");
    if (!positive(s.eta_r) || !positive(s.eta_a) || !positive(s.zeta))
        throw std::invalid_argument("eta and zeta must be above zero");
    if (s.shf_r.empty() || s.shf_a.empty() || s.shf_z.empty()) throw std::invalid_argument("every list of shifts needs one at least");
    for (const auto* shifts : {&s.shf_r, &s.shf_a, &s.shf_z})
        for (const double shift : *shifts)
            if (!std::isfinite(shift)) throw std::invalid_argument("shifts must be finite");
    return s;
}

template <typename T> struct Kernels {
    std::size_t (*values)(const AevBlock&, AevScratch<T>&, T*);
    std::size_t (*vjp)(const AevBlock&, AevScratch<T>&, const AevAdjoints<T>&);
    std::size_t (*jvp)(const AevBlock&, AevScratch<T>&, const AevVelocities<T>&);
};

template <typename T> Kernels<T> kernels_for(Isa isa) {
    isa = chosen(isa);
#ifdef ATHANOR_X86
    if (isa == Isa::avx512) return {avx512::aev_values, avx512::aev_vjp, avx512::aev_jvp};
    if (isa == Isa::avx2) return {avx2::aev_values, avx2::aev_vjp, avx2::aev_jvp};
#endif
    return {plain::aev_values, plain::aev_vjp, plain::aev_jvp};
}

// work(structure, block, scratch) for every block of every structure; a thread takes whole structures.
template <typename T, typename Work>
void visit_blocks(const AevProgram& p, const Structures& all, int n_rhs, int n_threads, Work work) {
    const std::size_t count = all.systems.size();
    std::atomic<std::size_t> next{0};
    parallel(std::min<std::size_t>(std::max(1, n_threads), std::max<std::size_t>(count, 1)), [&](std::size_t) {
        AevRoom<T> memory(p, n_rhs);
        for (std::size_t k = next++; k < count; k = next++) {
            Grid grid;
            grid.build(all.systems[k], p.cutoff());
            for (int begin = 0; begin < all.systems[k].n_atoms; begin += aev_block) {
                const int size = std::min(aev_block, all.systems[k].n_atoms - begin);
                const AevBlock block = {&p, &all.systems[k], &grid, nullptr, grid.order.data() + begin, size};
                memory.run([&](AevScratch<T>& s) { return work(k, block, s); });
            }
        }
    });
}

} // namespace

AevProgram::AevProgram(const AevSpec& specification)
    : spec(checked(specification)), n_r(static_cast<int>(spec.shf_r.size())), n_a(static_cast<int>(spec.shf_a.size())),
      n_z(static_cast<int>(spec.shf_z.size())), single(spec), twice(spec) {
    const auto n = static_cast<std::size_t>(spec.n_species);
    n_radial = n * static_cast<std::size_t>(n_r);
    length = n_radial + n * (n + 1) / 2 * static_cast<std::size_t>(n_a * n_z);
}

template <typename T>
void aev_values(const AevProgram& p, const Structures& all, T* values, const AevWork& work) {
    const Kernels<T> kernels = kernels_for<T>(work.isa);
    visit_blocks<T>(p, all, 0, work.n_threads, [&](std::size_t k, const AevBlock& block, AevScratch<T>& s) {
        return kernels.values(block, s, values + all.offset[k] * p.length);
    });
}

template <typename T>
void aev_vjp(const AevProgram& p, const Structures& all, int n_rhs, const T* adjoints, double* gradient, double* strain,
             const AevWork& work) {
    const Kernels<T> kernels = kernels_for<T>(work.isa);
    const auto n = static_cast<std::size_t>(n_rhs);
    const std::size_t count = all.systems.size();
    std::fill_n(strain, 9 * n * count, 0.0);
    // of one structure each: every one is worked on by one thread
    std::vector<std::vector<double>> sums(count), strains(count);
    visit_blocks<T>(p, all, n_rhs, work.n_threads, [&](std::size_t k, const AevBlock& block, AevScratch<T>& s) {
        const auto atoms = static_cast<std::size_t>(block.system->n_atoms);
        if (sums[k].empty()) sums[k].assign(4 * n * atoms, 0.0), strains[k].assign(9 * n, 0.0);
        const T* rows = adjoints + all.offset[k] * p.length;
        const std::size_t needed =
            kernels.vjp(block, s, {n_rhs, rows, all.n_atoms * p.length, p.length, false, sums[k].data(), strains[k].data()});
        if (needed || block.atoms + block.count != block.grid->order.data() + atoms) return needed;
        for (std::size_t m = 0; m < n; ++m) {
            for (std::size_t i = 0; i < atoms; ++i)
                for (std::size_t d = 0; d < 3; ++d)
                    gradient[3 * (m * all.n_atoms + all.offset[k] + i) + d] = sums[k][4 * (m * atoms + i) + d];
            std::copy_n(strains[k].data() + 9 * m, 9, strain + 9 * (m * count + k));
        }
        sums[k] = {};
        return needed;
    });
}

template <typename T>
void aev_jvp(const AevProgram& p, const Structures& all, int n_rhs, const double* velocities, const double* strains,
             T* rates, const AevWork& work) {
    const Kernels<T> kernels = kernels_for<T>(work.isa);
    visit_blocks<T>(p, all, n_rhs, work.n_threads, [&](std::size_t k, const AevBlock& block, AevScratch<T>& s) {
        return kernels.jvp(block, s, {n_rhs, velocities + 3 * all.offset[k], 3 * all.n_atoms, strains + 9 * k,
                                      9 * all.systems.size(), rates + all.offset[k] * p.length, all.n_atoms * p.length});
    });
}

template struct AevTables<float>;
template struct AevTables<double>;
template void aev_values(const AevProgram&, const Structures&, float*, const AevWork&);
template void aev_values(const AevProgram&, const Structures&, double*, const AevWork&);
template void aev_vjp(const AevProgram&, const Structures&, int, const float*, double*, double*, const AevWork&);
template void aev_vjp(const AevProgram&, const Structures&, int, const double*, double*, double*, const AevWork&);
template void aev_jvp(const AevProgram&, const Structures&, int, const double*, const double*, float*, const AevWork&);
template void aev_jvp(const AevProgram&, const Structures&, int, const double*, const double*, double*, const AevWork&);

} // namespace athanor
