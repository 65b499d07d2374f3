// Dispatch between instruction sets, memory and threads of an evaluation.
#include "mtp_scratch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

namespace athanor {
namespace {

using RunBlock = std::size_t (*)(const Block&, Scratch&, BlockTarget&);

struct Kernel {
    RunBlock run;
    int lanes;
};

Kernel kernel_for(Isa isa) {
    if (isa == Isa::automatic) isa = widest();
    if (!supported(isa)) throw std::invalid_argument("this processor lacks the instruction set asked for");
#ifdef ATHANOR_X86
    if (isa == Isa::avx512) return {avx512::run_block, 8};
    if (isa == Isa::avx2) return {avx2::run_block, 4};
#endif
    return {plain::run_block, 2};
}

// One allocation, cut into aligned pieces.
class Memory {
  public:
    Memory(const MtpProgram& p, int lanes, std::size_t room) {
        const auto n = static_cast<std::size_t>(lanes);
        scratch.room = room;
        scratch.slots = room * std::min<std::size_t>(p.spec.n_species, n) + unroll_forward;
        const std::size_t sizes[] = {
            p.n_moments * n, p.n_moments * n,
            static_cast<std::size_t>(p.spec.n_species) * p.spec.n_radial * p.spec.n_chebyshev * n,
            3 * room * n, scratch.slots * slot_size(p.spec.n_radial) * n,
            scratch.slots * 2 * p.spec.n_chebyshev * n,
            room * n, scratch.slots * n, scratch.slots};
        std::size_t total = 0;
        for (std::size_t size : sizes) total += padded(size);
        data_.reset(static_cast<double*>(std::aligned_alloc(64, total * sizeof(double))));
        if (!data_) throw std::bad_alloc();
        double* next = data_.get();
        double** doubles[] = {&scratch.moments, &scratch.adjoints, &scratch.row,
                              &scratch.found, &scratch.slot, &scratch.basis};
        for (int k = 0; k < 6; ++k) *doubles[k] = next, next += padded(sizes[k]);
        std::int32_t** integers[] = {&scratch.points, &scratch.slot_atom, &scratch.slot_type};
        for (int k = 0; k < 3; ++k) *integers[k] = reinterpret_cast<std::int32_t*>(next), next += padded(sizes[6 + k]);
    }
    Scratch scratch;

  private:
    static std::size_t padded(std::size_t size) { return (size + 15) / 8 * 8; }
    struct Free { void operator()(double* p) const { std::free(p); } };
    std::unique_ptr<double, Free> data_;
};

// Blocks of atoms of one species, at most `lanes` long: where each starts in Grid::order.
std::vector<Block> blocks_of(const MtpProgram& p, const System& s, const Grid& g, int lanes) {
    std::vector<Block> blocks;
    for (int begin = 0; begin < s.n_atoms;) {
        int end = begin + 1;
        while (end < s.n_atoms && end - begin < lanes &&
               s.types[g.order[end]] == s.types[g.order[begin]])
            ++end;
        blocks.push_back({&p, &s, &g, g.order.data() + begin, end - begin});
        begin = end;
    }
    return blocks;
}

void run_blocks(const Kernel& kernel, const std::vector<Block>& blocks, std::size_t begin,
                std::size_t end, BlockTarget& target) {
    if (begin == end) return;
    const MtpProgram& p = *blocks[begin].program;
    auto memory = std::make_unique<Memory>(p, kernel.lanes, 160);
    for (std::size_t n = begin; n < end; ++n) {
        while (const std::size_t needed = kernel.run(blocks[n], memory->scratch, target))
            memory = std::make_unique<Memory>(p, kernel.lanes, needed + 32);
        if (target.fault[0] >= 0)
            throw StructureFault("atoms " + std::to_string(target.fault[0]) + " and " +
                                 std::to_string(target.fault[1]) + " coincide (closer than 0.001 Å)");
    }
}

void add(const BlockTarget& part, int n_atoms, MtpResult& result) {
    result.energy += part.energy;
    for (int k = 0; k < 9; ++k) result.virial[k] += part.virial[k];
    if (part.forces && part.forces != result.forces)
        for (std::size_t k = 0; k < 3 * static_cast<std::size_t>(n_atoms); ++k)
            result.forces[k] += part.forces[k];
}

} // namespace

bool supported(Isa isa) {
    switch (isa) {
    case Isa::automatic:
    case Isa::plain: return true;
#ifdef ATHANOR_X86
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
#endif
    default: return false;
    }
}

Isa widest() {
    if (supported(Isa::avx512)) return Isa::avx512;
    return supported(Isa::avx2) ? Isa::avx2 : Isa::plain;
}

void evaluate(const MtpProgram& program, const System& system, MtpResult& result, int n_threads, Isa isa) {
    const Kernel kernel = kernel_for(isa);
    Grid grid;
    grid.build(system, program.spec.max_dist);
    const auto blocks = blocks_of(program, system, grid, kernel.lanes);
    const std::size_t n_parts = std::max<std::size_t>(1, std::min<std::size_t>(n_threads, blocks.size()));
    const std::size_t n_forces = 3 * static_cast<std::size_t>(system.n_atoms);
    if (result.features)
        std::fill_n(result.features, static_cast<std::size_t>(program.n_parameters()) * system.n_atoms, 0.0);
    if (result.forces) std::fill_n(result.forces, n_forces, 0.0);
    const std::size_t width = result.feature_sum ? program.n_parameters() : 0;
    std::vector<BlockTarget> parts(n_parts);
    std::vector<std::vector<double>> buffers(n_parts), rows(n_parts);
    std::vector<std::exception_ptr> errors(n_parts);
    const auto work = [&](std::size_t t) {
        try {
            if (result.forces && t > 0) buffers[t].assign(n_forces, 0.0);
            parts[t].forces = result.forces ? (t ? buffers[t].data() : result.forces) : nullptr;
            parts[t].site_energies = result.site_energies;
            parts[t].features = result.features;
            rows[t].assign(width, 0.0);
            parts[t].feature_sum = width ? rows[t].data() : nullptr;
            run_blocks(kernel, blocks, blocks.size() * t / n_parts, blocks.size() * (t + 1) / n_parts, parts[t]);
        } catch (...) {
            errors[t] = std::current_exception();
        }
    };
    std::vector<std::thread> threads;
    for (std::size_t t = 1; t < n_parts; ++t) threads.emplace_back(work, t);
    work(0);
    for (std::thread& thread : threads) thread.join();
    for (const auto& error : errors)
        if (error) std::rethrow_exception(error);
    result.energy = 0;
    std::fill_n(result.virial, 9, 0.0);
    for (const BlockTarget& part : parts) add(part, system.n_atoms, result);
    std::fill_n(result.feature_sum, width, 0.0);
    for (const auto& row : rows)
        for (std::size_t k = 0; k < width; ++k) result.feature_sum[k] += row[k];
    result.volume = grid.volume;
}

double core_repulsion(int first, int second, double r, double reach, double& slope) {
    constexpr double coulomb = 14.399645; // e^2 / (4 pi eps0), eV Å
    constexpr double weight[4] = {0.18175, 0.50986, 0.28022, 0.02817};
    constexpr double decay[4] = {3.19980, 0.94229, 0.40290, 0.20162};
    const double length = 0.46850 / (std::pow(first, 0.23) + std::pow(second, 0.23));
    double screen = 0, dscreen = 0;
    for (int k = 0; k < 4; ++k) {
        const double term = weight[k] * std::exp(-decay[k] * r / length);
        screen += term;
        dscreen -= decay[k] / length * term;
    }
    const double bare = coulomb * first * second / r;
    const double t = r / reach, fade = (1 - t) * (1 - t) * (1 + 2 * t), dfade = -6 * t * (1 - t) / reach;
    slope = bare * (dscreen * fade + screen * dfade - screen * fade / r);
    return bare * screen * fade;
}

} // namespace athanor
