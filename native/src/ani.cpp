// Ensembles of networks: their tables, dispatch between instruction sets, threads over blocks of atoms.
#include "aev_run.hpp"
#include "ani_kernel.hpp"
#include "threads.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace athanor {
namespace {

std::size_t padded(std::size_t n) { return (n + widest_vector - 1) / widest_vector * widest_vector; }

void check(const AniSpec& s, const AevProgram& aev) {
    const auto n_species = static_cast<std::size_t>(aev.spec.n_species), n = static_cast<std::size_t>(s.n_members);
    if (s.n_members < 1) throw std::invalid_argument("at least one member is needed");
    if (!(s.alpha > 0) || !std::isfinite(s.scale)) throw std::invalid_argument("alpha must be above zero and scale finite");
    if (s.networks.size() != n_species || s.offsets.size() != n * n_species)
        throw std::invalid_argument("networks and offsets must be those of every species");
    for (const auto& layers : s.networks) {
        if (layers.size() < 2) throw std::invalid_argument("a network needs one hidden layer at least");
        std::size_t width = aev.length;
        for (const AniLayer& layer : layers) {
            const auto n_in = static_cast<std::size_t>(layer.n_in), n_out = static_cast<std::size_t>(layer.n_out);
            if (n_in != width || layer.n_out < 1 || layer.weights.size() != n * n_in * n_out || layer.biases.size() != n * n_out)
                throw std::invalid_argument("the layers of a network do not fit each other");
            width = n_out;
        }
        if (width != 1) throw std::invalid_argument("the last layer of a network must have one output");
    }
}

template <typename T> AniTables<T> tables_of(const AniLayer& layer, std::size_t n_members) {
    AniTables<T> t;
    t.n_in = static_cast<std::size_t>(layer.n_in), t.n_out = static_cast<std::size_t>(layer.n_out);
    t.in_stride = padded(t.n_in), t.out_stride = padded(t.n_out);
    t.forward.assign(n_members * t.n_in * t.out_stride, T{});
    t.backward.assign(n_members * t.n_out * t.in_stride, T{});
    t.bias.assign(n_members * t.out_stride, T{});
    for (std::size_t m = 0; m < n_members; ++m)
        for (std::size_t o = 0; o < t.n_out; ++o) {
            t.bias[m * t.out_stride + o] = static_cast<T>(layer.biases[m * t.n_out + o]);
            for (std::size_t i = 0; i < t.n_in; ++i) {
                const T w = static_cast<T>(layer.weights[(m * t.n_out + o) * t.n_in + i]);
                t.forward[(m * t.n_in + i) * t.out_stride + o] = w;
                t.backward[(m * t.n_out + o) * t.in_stride + i] = w;
            }
        }
    return t;
}

template <typename T> struct Kernel {
    std::size_t (*run)(const AniProgram<T>&, const AevBlock&, AevScratch<T>&, const AniScratch<T>&, const AniTarget&);
    std::size_t (*list)(const AevBlock&, AevScratch<T>&, double);
};

template <typename T> Kernel<T> kernel_for(Isa isa) {
    isa = chosen(isa);
#ifdef ATHANOR_X86
    if (isa == Isa::avx512) return {avx512::ani_block, avx512::aev_list};
    if (isa == Isa::avx2) return {avx2::ani_block, avx2::aev_list};
#endif
    return {plain::ani_block, plain::aev_list};
}

// Blocks of atoms of one species, at most `most` long.
std::vector<AevBlock> blocks_of(const AevProgram& p, const System& s, const Grid& g, const Listed* listed, int most) {
    std::vector<AevBlock> blocks;
    for (int begin = 0; begin < s.n_atoms;) {
        int end = begin + 1;
        while (end < s.n_atoms && end - begin < most && s.types[g.order[end]] == s.types[g.order[begin]]) ++end;
        blocks.push_back({&p, &s, &g, listed, g.order.data() + begin, end - begin});
        begin = end;
    }
    return blocks;
}

// Rows of one thread, in one piece.
template <typename T> class RowMemory {
  public:
    RowMemory(const AniProgram<T>& p, std::size_t n_adjoints) {
        std::size_t hidden = 0;
        for (const auto& layers : p.tables) hidden = std::max(hidden, layers.size() - 1);
        const std::size_t rows = aev_block, sizes[] = {rows * padded(p.aev->length), n_adjoints * rows * padded(p.aev->length),
                                                       hidden * rows * p.widest, rows * p.widest, rows * p.widest};
        std::size_t total = 0;
        for (const std::size_t size : sizes) total += size;
        data_.reset(static_cast<T*>(std::aligned_alloc(64, total * sizeof(T))));
        if (!data_) throw std::bad_alloc();
        std::fill_n(data_.get(), total, T{});
        T** const places[] = {&scratch.values, &scratch.adjoints, &scratch.states, &scratch.delta, &scratch.other};
        T* next = data_.get();
        for (int k = 0; k < 5; ++k) *places[k] = next, next += sizes[k];
    }
    AniScratch<T> scratch = {};

  private:
    struct Free { void operator()(T* p) const { std::free(p); } };
    std::unique_ptr<T, Free> data_;
};

// What one thread adds up.
struct Part {
    std::vector<double> energies, forces, virial;
    Part(std::size_t n_members, std::size_t k, std::size_t n_atoms)
        : energies(n_members, 0.0), forces(4 * k * n_atoms, 0.0), virial(9 * k, 0.0) {}
};

template <typename T> void fill_lists(const Kernel<T>& kernel, const std::vector<AevBlock>& blocks, SkinList& kept) {
    AevRoom<T> room(*blocks[0].program, 0);
    std::vector<std::int32_t> points;
    std::vector<std::size_t> counts;
    for (const AevBlock& block : blocks)
        room.run([&](AevScratch<T>& s) {
            const std::size_t needed = kernel.list(block, s, kept.reach());
            for (int k = 0; !needed && k < block.count; ++k) {
                const std::int32_t* first = s.points + s.room * static_cast<std::size_t>(k);
                points.insert(points.end(), first, first + s.counts[k]);
                counts.push_back(s.counts[k]);
            }
            return needed;
        });
    kept.fill(points, counts);
}

void add_up(const std::vector<std::unique_ptr<Part>>& parts, AniResult& r) {
    for (const auto& part : parts) {
        for (std::size_t m = 0; m < part->energies.size(); ++m) r.energies[m] += part->energies[m];
        if (!r.forces) continue;
        for (std::size_t k = 0; k < part->virial.size(); ++k) r.virial[k] += part->virial[k];
        const std::size_t rows = part->forces.size() / 4;
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t d = 0; d < 3; ++d) r.forces[3 * i + d] -= part->forces[4 * i + d];
    }
}

} // namespace

template <typename T>
AniProgram<T>::AniProgram(std::shared_ptr<const AevProgram> environment, AniSpec specification)
    : aev(std::move(environment)), spec(std::move(specification)) {
    if (!aev) throw std::invalid_argument("an environment vector is needed");
    check(spec, *aev);
    for (const auto& layers : spec.networks) {
        tables.emplace_back();
        for (const AniLayer& layer : layers) {
            tables.back().push_back(tables_of<T>(layer, static_cast<std::size_t>(spec.n_members)));
            widest = std::max({widest, tables.back().back().out_stride, tables.back().back().in_stride});
        }
        feature_of.push_back(n_features);
        n_features += tables.back().back().n_in + 1;
    }
    spec.networks.clear();
}

template <typename T>
void evaluate(const AniProgram<T>& program, const System& system, AniResult& r, const AniWork& work) {
    const Kernel<T> kernel = kernel_for<T>(work.isa);
    const AevProgram& aev = *program.aev;
    Grid own;
    const bool listed = work.kept && work.kept->follow(system, aev.cutoff());
    if (!work.kept) own.build(system, aev.cutoff());
    const Grid& grid = work.kept ? work.kept->grid() : own;
    const auto n = static_cast<std::size_t>(system.n_atoms), n_members = static_cast<std::size_t>(program.spec.n_members);
    const std::size_t k = work.each ? n_members : 1, n_forces = r.forces ? k : 0;
    r.volume = grid.volume;
    std::fill_n(r.energies, n_members, 0.0);
    if (r.forces) std::fill_n(r.forces, 3 * k * n, 0.0), std::fill_n(r.virial, 9 * k, 0.0);
    if (r.features) std::fill_n(r.features, n * program.n_features, 0.0);
    if (!n) return;
    const std::size_t n_threads = static_cast<std::size_t>(std::max(1, work.n_threads));
    // small structures are cut finer, so that every thread has a block
    const auto share = static_cast<int>((n + n_threads - 1) / n_threads);
    auto blocks = blocks_of(aev, system, grid, nullptr, std::clamp((share + 7) / 8 * 8, 8, aev_block));
    if (work.kept && !listed) fill_lists(kernel, blocks, *work.kept);
    for (AevBlock& block : blocks) block.listed = work.kept ? work.kept->listed() : nullptr;
    const std::size_t n_parts = std::min(n_threads, blocks.size());
    std::vector<std::unique_ptr<Part>> parts(n_parts);
    parallel(n_parts, [&](std::size_t t) {
        parts[t] = std::make_unique<Part>(n_members, n_forces, n);
        Part& part = *parts[t];
        AevRoom<T> room(aev, static_cast<int>(k));
        RowMemory<T> rows(program, k);
        const AniTarget target = {work.each, part.energies.data(), r.forces ? part.forces.data() : nullptr,
                                  part.virial.data(), r.site_energies, r.features};
        for (std::size_t b = blocks.size() * t / n_parts; b < blocks.size() * (t + 1) / n_parts; ++b)
            room.run([&](AevScratch<T>& s) { return kernel.run(program, blocks[b], s, rows.scratch, target); });
    });
    add_up(parts, r);
}

template struct AniProgram<float>;
template struct AniProgram<double>;
template void evaluate(const AniProgram<float>&, const System&, AniResult&, const AniWork&);
template void evaluate(const AniProgram<double>&, const System&, AniResult&, const AniWork&);

} // namespace athanor
