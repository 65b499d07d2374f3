// An ensemble on a block of atoms. Compiled once per instruction set.
#include "aev_atom.hpp"
#include "ani_networks.hpp"

namespace athanor {
namespace ATHANOR_ISA {
namespace {

// Environment vectors of the block, rows beyond it zero; false when two atoms coincide.
template <typename T> bool fill_values(const AevBlock& b, AevScratch<T>& s, int rows, T* values) {
    const std::size_t length = b.program->length;
    for (int number = 0; number < b.count; ++number) {
        if (build_shell(b, s, number) < 0) return false;
        atom_values(*b.program, s, values + static_cast<std::size_t>(number) * length);
    }
    for (std::size_t k = static_cast<std::size_t>(b.count) * length; k < static_cast<std::size_t>(rows) * length; ++k)
        values[k] = 0;
    return true;
}

template <typename T>
void write_features(const Networks<T>& net, const AevBlock& b, std::size_t species, const AniTarget& to) {
    const AniProgram<T>& p = net.program;
    const std::size_t n = net.layers.back().n_in;
    for (int number = 0; number < b.count; ++number) {
        double* row = to.features + static_cast<std::size_t>(b.atoms[number]) * p.n_features + p.feature_of[species];
        const T* state = net.state(net.hidden() - 1) + static_cast<std::size_t>(number) * p.widest;
        for (std::size_t k = 0; k < n; ++k) row[k] = p.spec.scale * static_cast<double>(state[k]);
        row[n] = p.spec.scale;
    }
}

template <typename T>
void run_members(const Networks<T>& net, const AevBlock& b, std::size_t species, const AniTarget& to) {
    const AniProgram<T>& p = net.program;
    const auto n_members = static_cast<std::size_t>(p.spec.n_members), n_atoms = static_cast<std::size_t>(b.system->n_atoms);
    const std::size_t block = aev_block * net.layers.front().in_stride;
    const double weight = p.spec.scale / (to.each ? 1.0 : static_cast<double>(n_members));
    for (std::size_t m = 0; m < n_members; ++m) {
        net.forward(m);
        const double offset = p.spec.offsets[m * static_cast<std::size_t>(p.aev->spec.n_species) + species];
        for (int number = 0; number < b.count; ++number) {
            const double energy = p.spec.scale * net.output(m, number) + offset;
            to.energies[m] += energy;
            if (to.site_energies) to.site_energies[m * n_atoms + static_cast<std::size_t>(b.atoms[number])] = energy;
        }
        if (m == 0 && to.features) write_features(net, b, species, to);
        if (to.forces) net.backward(m, static_cast<T>(weight), !to.each && m > 0, net.s.adjoints + (to.each ? m * block : 0));
    }
}

template <typename T>
std::size_t run(const AniProgram<T>& p, const AevBlock& b, AevScratch<T>& s, const AniScratch<T>& rows,
                const AniTarget& to) {
    if (const std::size_t needed = collect(b, s)) return needed;
    const int padded = (b.count + tile_rows - 1) / tile_rows * tile_rows;
    if (!fill_values(b, s, padded, rows.values)) return 0;
    const auto species = static_cast<std::size_t>(b.system->types[b.atoms[0]]);
    const Networks<T> net = {p, p.tables[species], rows, padded};
    run_members(net, b, species, to);
    if (!to.forces) return 0;
    const std::size_t stride = net.layers.front().in_stride;
    const AevAdjoints<T> adjoints = {to.each ? p.spec.n_members : 1, rows.adjoints, aev_block * stride, stride, true,
                                     to.forces, to.virial};
    for (int number = 0; number < b.count; ++number)
        atom_vjp(b, s, number, build_shell(b, s, number), adjoints);
    return 0;
}

} // namespace

std::size_t ani_block(const AniProgram<float>& p, const AevBlock& b, AevScratch<float>& s,
                      const AniScratch<float>& rows, const AniTarget& to) {
    return run(p, b, s, rows, to);
}
std::size_t ani_block(const AniProgram<double>& p, const AevBlock& b, AevScratch<double>& s,
                      const AniScratch<double>& rows, const AniTarget& to) {
    return run(p, b, s, rows, to);
}
std::size_t aev_list(const AevBlock& b, AevScratch<float>& s, double reach) { return search(b, s, reach); }
std::size_t aev_list(const AevBlock& b, AevScratch<double>& s, double reach) { return search(b, s, reach); }

} // namespace ATHANOR_ISA
} // namespace athanor
