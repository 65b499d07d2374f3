// Shapes of arrays at the boundary: wrong ones cannot reach a kernel.
#pragma once

#include "athanor/isa.hpp"
#include "athanor/system.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace athanor::bindings {

namespace nb = nanobind;

using Positions = nb::ndarray<const double, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Types = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Cell = nb::ndarray<const double, nb::shape<3, 3>, nb::c_contig, nb::device::cpu>;
using Periodic = nb::ndarray<const bool, nb::shape<3>, nb::c_contig, nb::device::cpu>;

inline System system_of(const Positions& positions, const Types& types, const Cell& cell,
                        const Periodic& periodic, int n_species) {
    System s;
    s.n_atoms = static_cast<int>(positions.shape(0));
    if (types.shape(0) != positions.shape(0))
        throw std::invalid_argument("types and positions differ in length");
    for (int i = 0; i < s.n_atoms; ++i)
        if (types.data()[i] < 0 || types.data()[i] >= n_species)
            throw std::invalid_argument("a species index is out of range");
    s.positions = positions.data();
    s.types = types.data();
    for (int k = 0; k < 9; ++k) s.cell[k] = cell.data()[k];
    for (int k = 0; k < 3; ++k) s.periodic[k] = periodic.data()[k];
    return s;
}

// A NumPy array that owns what the vector held.
template <typename T>
nb::ndarray<nb::numpy, T> owned(std::vector<T>&& values, std::initializer_list<std::size_t> shape) {
    auto* kept = new std::vector<T>(std::move(values));
    nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::ndarray<nb::numpy, T>(kept->data(), shape, owner);
}

inline Isa isa_of(const std::string& name) {
    if (name == "auto") return Isa::automatic;
    if (name == "plain") return Isa::plain;
    if (name == "avx2") return Isa::avx2;
    if (name == "avx512") return Isa::avx512;
    throw std::invalid_argument("isa must be auto, plain, avx2 or avx512");
}

void bind_mtp(nb::module_& m);
void bind_aev(nb::module_& m);
void bind_ani(nb::module_& m);

} // namespace athanor::bindings
