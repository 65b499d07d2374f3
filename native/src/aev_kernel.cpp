// Environment vectors of a block of atoms. Compiled once per instruction set.
#include "aev_atom.hpp"

namespace athanor {
namespace ATHANOR_ISA {
namespace {

// work(number, length of the shell) for each atom of the block whose neighbours are collected.
template <typename T, typename Work> std::size_t visit_atoms(const AevBlock& b, AevScratch<T>& s, Work work) {
    if (const std::size_t needed = collect(b, s)) return needed;
    for (int number = 0; number < b.count; ++number) {
        const int count = build_shell(b, s, number);
        if (count < 0) return 0;
        work(number, count);
    }
    return 0;
}

template <typename T> std::size_t values_of(const AevBlock& b, AevScratch<T>& s, T* values) {
    return visit_atoms(b, s, [&](int number, int) {
        atom_values(*b.program, s, values + static_cast<std::size_t>(b.atoms[number]) * b.program->length);
    });
}

template <typename T> std::size_t vjp_of(const AevBlock& b, AevScratch<T>& s, const AevAdjoints<T>& to) {
    return visit_atoms(b, s, [&](int number, int count) { atom_vjp(b, s, number, count, to); });
}

template <typename T> std::size_t jvp_of(const AevBlock& b, AevScratch<T>& s, const AevVelocities<T>& to) {
    return visit_atoms(b, s, [&](int number, int count) { atom_jvp(b, s, number, count, to); });
}

} // namespace

std::size_t aev_values(const AevBlock& b, AevScratch<float>& s, float* values) { return values_of(b, s, values); }
std::size_t aev_values(const AevBlock& b, AevScratch<double>& s, double* values) { return values_of(b, s, values); }
std::size_t aev_vjp(const AevBlock& b, AevScratch<float>& s, const AevAdjoints<float>& to) { return vjp_of(b, s, to); }
std::size_t aev_vjp(const AevBlock& b, AevScratch<double>& s, const AevAdjoints<double>& to) { return vjp_of(b, s, to); }
std::size_t aev_jvp(const AevBlock& b, AevScratch<float>& s, const AevVelocities<float>& to) { return jvp_of(b, s, to); }
std::size_t aev_jvp(const AevBlock& b, AevScratch<double>& s, const AevVelocities<double>& to) { return jvp_of(b, s, to); }

} // namespace ATHANOR_ISA
} // namespace athanor
