// Dispatch between instruction sets, and threads of an evaluation.
#include "mtp_memory.hpp"
#include "threads.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace athanor {
namespace {

struct Kernel {
    std::size_t (*run)(const Block&, Scratch&, BlockTarget*);
    std::size_t (*list)(const Block&, Scratch&, double, std::size_t*);
    int lanes;
};

Kernel kernel_for(Isa isa) {
    isa = chosen(isa);
#ifdef ATHANOR_X86
    if (isa == Isa::avx512) return {avx512::run_block, avx512::list_block, 8};
    if (isa == Isa::avx2) return {avx2::run_block, avx2::list_block, 4};
#endif
    return {plain::run_block, plain::list_block, 2};
}

using Programs = std::vector<const MtpProgram*>;

constexpr std::size_t usual_room = 160; // neighbours; grows where there are more

// Blocks of atoms of one species, at most `lanes` long.
std::vector<Block> blocks_of(const Programs& programs, const System& s, const Grid& g, int lanes) {
    std::vector<Block> blocks;
    blocks.reserve(static_cast<std::size_t>(s.n_atoms / lanes) + programs[0]->spec.n_species);
    for (int begin = 0; begin < s.n_atoms;) {
        int end = begin + 1;
        while (end < s.n_atoms && end - begin < lanes &&
               s.types[g.order[end]] == s.types[g.order[begin]])
            ++end;
        blocks.push_back({programs[0], &programs, &s, &g, g.order.data() + begin, end - begin, nullptr, false});
        begin = end;
    }
    return blocks;
}

void run_blocks(const Kernel& kernel, const std::vector<Block>& blocks, std::size_t begin, std::size_t end,
                std::vector<BlockTarget>& targets) {
    if (begin == end) return;
    const Programs& programs = *blocks[begin].programs;
    auto memory = std::make_unique<MtpMemory>(programs, kernel.lanes, usual_room);
    for (std::size_t n = begin; n < end; ++n) {
        while (const std::size_t needed = kernel.run(blocks[n], memory->scratch, targets.data()))
            memory = std::make_unique<MtpMemory>(programs, kernel.lanes, needed + 32);
        for (const BlockTarget& target : targets)
            if (target.fault[0] >= 0)
                throw StructureFault("atoms " + std::to_string(target.fault[0]) + " and " +
                                     std::to_string(target.fault[1]) + " coincide (closer than 0.001 Å)");
    }
}

// What one thread adds up for each potential, before the threads are put together.
struct Part {
    std::vector<BlockTarget> targets;
    std::vector<std::vector<double>> forces, rows;

    Part(const std::vector<MtpResult>& results, const Programs& programs, int n_atoms) {
        for (std::size_t m = 0; m < results.size(); ++m) {
            const MtpResult& r = results[m];
            // room to begin at a multiple of 32 bytes
            forces.emplace_back(r.forces ? 4 * static_cast<std::size_t>(n_atoms) + 4 : 0, 0.0);
            rows.emplace_back(r.feature_sum ? programs[m]->n_parameters() : 0, 0.0);
            BlockTarget target;
            if (r.forces) target.forces = aligned(forces.back());
            target.site_energies = r.site_energies;
            target.features = r.features;
            if (r.feature_sum) target.feature_sum = rows.back().data();
            targets.push_back(target);
        }
    }

    void add_to(MtpResult& result, std::size_t m, int n_atoms) const {
        const BlockTarget& t = targets[m];
        result.energy += t.energy;
        for (int k = 0; k < 9; ++k) result.virial[k] += t.virial[k];
        for (int i = 0; t.forces && i < n_atoms; ++i)
            for (int d = 0; d < 3; ++d) result.forces[3 * i + d] += t.forces[4 * i + d];
        for (std::size_t k = 0; k < rows[m].size(); ++k) result.feature_sum[k] += rows[m][k];
    }

  private:
    static double* aligned(std::vector<double>& v) {
        return v.data() + (32 - reinterpret_cast<std::uintptr_t>(v.data()) % 32) % 32 / sizeof(double);
    }
};

void clear(MtpResult& r, const MtpProgram& p, int n_atoms, double volume) {
    const auto n = static_cast<std::size_t>(n_atoms);
    r.energy = 0, r.volume = volume;
    std::fill_n(r.virial, 9, 0.0);
    if (r.forces) std::fill_n(r.forces, 3 * n, 0.0);
    if (r.features) std::fill_n(r.features, n * p.n_parameters(), 0.0);
    if (r.feature_sum) std::fill_n(r.feature_sum, p.n_parameters(), 0.0);
}

void check(const Programs& programs, const std::vector<MtpResult>& results) {
    if (programs.empty() || !programs[0] || programs.size() != results.size())
        throw std::invalid_argument("one result for each of at least one potential is needed");
    for (const MtpProgram* p : programs)
        if (!p || p->spec.n_species != programs[0]->spec.n_species || p->spec.max_dist != programs[0]->spec.max_dist)
            throw std::invalid_argument("potentials evaluated together have the same species and cutoff");
}

// Tables of products so large that potentials taking turns in every block would push each other out of
// the cache (measured: at level 28 eight together took 1.4 times as long as one after the other).
bool crowded(const Programs& programs) {
    std::size_t largest = 0;
    for (const MtpProgram* p : programs)
        largest = std::max(largest, (p->forward.entries.size() + p->reverse.entries.size()) * sizeof(Fold::Entry));
    return largest > (std::size_t{1} << 20);
}

void fill_lists(const Kernel& kernel, const std::vector<Block>& blocks, SkinList& kept) {
    const Programs& programs = *blocks[0].programs;
    auto memory = std::make_unique<MtpMemory>(programs, kernel.lanes, usual_room);
    std::vector<std::int32_t> points;
    std::vector<std::size_t> counts, all;
    for (const Block& block : blocks) {
        counts.assign(kernel.lanes, 0);
        while (const std::size_t needed = kernel.list(block, memory->scratch, kept.reach(), counts.data()))
            memory = std::make_unique<MtpMemory>(programs, kernel.lanes, needed + 32);
        const Scratch& s = memory->scratch;
        for (int l = 0; l < block.count; ++l)
            points.insert(points.end(), s.points + s.room * l, s.points + s.room * l + counts[l]);
        all.insert(all.end(), counts.begin(), counts.begin() + block.count);
    }
    kept.fill(points, all);
}

} // namespace

void evaluate(const std::vector<const MtpProgram*>& programs, const System& system, std::vector<MtpResult>& results,
              const Evaluation& how) {
    check(programs, results);
    if (programs.size() > 1 && crowded(programs)) {
        for (std::size_t m = 0; m < programs.size(); ++m) {
            std::vector<MtpResult> one = {results[m]};
            evaluate({programs[m]}, system, one, how);
            results[m] = one[0];
        }
        return;
    }
    const Kernel kernel = kernel_for(how.isa);
    const double cutoff = programs[0]->spec.max_dist;
    Grid own;
    const bool listed = how.kept && how.kept->follow(system, cutoff);
    if (!how.kept) own.build(system, cutoff);
    const Grid& grid = how.kept ? how.kept->grid() : own;
    auto blocks = blocks_of(programs, system, grid, kernel.lanes);
    for (std::size_t m = 0; m < results.size(); ++m) clear(results[m], *programs[m], system.n_atoms, grid.volume);
    if (blocks.empty()) return;
    if (how.kept && !listed) fill_lists(kernel, blocks, *how.kept);
    bool features = false;
    for (const MtpResult& result : results) features |= result.features || result.feature_sum;
    for (Block& block : blocks) {
        block.listed = how.kept ? how.kept->listed() : nullptr;
        block.keep_basis = features;
    }
    const std::size_t n_parts = std::min<std::size_t>(std::max(1, how.n_threads), blocks.size());
    std::vector<std::unique_ptr<Part>> parts(n_parts);
    parallel(n_parts, [&](std::size_t t) {
        parts[t] = std::make_unique<Part>(results, programs, system.n_atoms);
        run_blocks(kernel, blocks, blocks.size() * t / n_parts, blocks.size() * (t + 1) / n_parts, parts[t]->targets);
    });
    for (const auto& part : parts)
        for (std::size_t m = 0; m < results.size(); ++m) part->add_to(results[m], m, system.n_atoms);
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
