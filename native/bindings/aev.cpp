#include "arrays.hpp"

#include "athanor/aev.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/shared_ptr.h>

#include <memory>
#include <string>
#include <vector>

namespace athanor::bindings {
namespace {

using Shifts = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Offsets = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Cells = nb::ndarray<const double, nb::shape<-1, 3, 3>, nb::c_contig, nb::device::cpu>;
using Periodics = nb::ndarray<const bool, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<nb::ro, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Velocities = nb::ndarray<const double, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;
using Strains = nb::ndarray<const double, nb::shape<-1, -1, 3, 3>, nb::c_contig, nb::device::cpu>;

std::shared_ptr<AevProgram> make(int n_species, double radial_cutoff, double angular_cutoff, double eta_r,
                                 const Shifts& shf_r, double eta_a, double zeta, const Shifts& shf_a,
                                 const Shifts& shf_z) {
    const auto list = [](const Shifts& s) { return std::vector<double>(s.data(), s.data() + s.size()); };
    return std::make_shared<AevProgram>(AevSpec{n_species, radial_cutoff, angular_cutoff, eta_r, eta_a, zeta,
                                                list(shf_r), list(shf_a), list(shf_z)});
}

Structures structures_of(const AevProgram& p, const Positions& positions, const Types& types, const Offsets& offsets,
                         const Cells& cells, const Periodics& periodic) {
    Structures all;
    all.n_atoms = positions.shape(0);
    const std::size_t count = cells.shape(0);
    if (offsets.shape(0) != count + 1 || periodic.shape(0) != count)
        throw std::invalid_argument("offsets, cells and periodic differ in length");
    if (types.shape(0) != all.n_atoms) throw std::invalid_argument("types and positions differ in length");
    for (std::size_t i = 0; i < all.n_atoms; ++i)
        if (types.data()[i] < 0 || types.data()[i] >= p.spec.n_species)
            throw std::invalid_argument("a species index is out of range");
    if (offsets.data()[0] != 0 || offsets.data()[count] != static_cast<std::int64_t>(all.n_atoms))
        throw std::invalid_argument("offsets do not fit the positions");
    for (std::size_t k = 0; k < count; ++k) {
        const std::int64_t begin = offsets.data()[k], end = offsets.data()[k + 1];
        if (end < begin || begin < 0 || end > static_cast<std::int64_t>(all.n_atoms))
            throw std::invalid_argument("offsets do not fit the positions");
        System s;
        s.n_atoms = static_cast<int>(end - begin);
        s.positions = positions.data() + 3 * begin, s.types = types.data() + begin;
        for (int n = 0; n < 9; ++n) s.cell[n] = cells.data()[9 * k + n];
        for (int n = 0; n < 3; ++n) s.periodic[n] = periodic.data()[3 * k + n];
        all.systems.push_back(s), all.offset.push_back(static_cast<std::size_t>(begin));
    }
    return all;
}

template <typename T>
nb::object values_as(const AevProgram& p, const Structures& all, const AevWork& work) {
    std::vector<T> values(all.n_atoms * p.length);
    {
        nb::gil_scoped_release release;
        aev_values(p, all, values.data(), work);
    }
    return nb::cast(owned(std::move(values), {all.n_atoms, p.length}));
}

nb::object values(const AevProgram& p, const Positions& positions, const Types& types, const Offsets& offsets,
                  const Cells& cells, const Periodics& periodic, int threads, bool twice, const std::string& isa) {
    const Structures all = structures_of(p, positions, types, offsets, cells, periodic);
    const AevWork work{threads, isa_of(isa)};
    return twice ? values_as<double>(p, all, work) : values_as<float>(p, all, work);
}

nb::tuple vjp(const AevProgram& p, const Positions& positions, const Types& types, const Offsets& offsets,
              const Cells& cells, const Periodics& periodic, const Rows& adjoints, int threads, const std::string& isa) {
    const Structures all = structures_of(p, positions, types, offsets, cells, periodic);
    const std::size_t n_rhs = adjoints.shape(0), count = all.systems.size();
    if (adjoints.shape(1) != all.n_atoms || adjoints.shape(2) != p.length)
        throw std::invalid_argument("adjoints must have the shape (n, n_atoms, length)");
    const bool twice = adjoints.dtype() == nb::dtype<double>();
    if (!twice && adjoints.dtype() != nb::dtype<float>())
        throw std::invalid_argument("adjoints must be float32 or float64");
    std::vector<double> gradient(n_rhs * all.n_atoms * 3), strain(n_rhs * count * 9);
    const AevWork work{threads, isa_of(isa)};
    const void* rows = adjoints.data();
    {
        nb::gil_scoped_release release;
        const int n = static_cast<int>(n_rhs);
        if (twice) aev_vjp(p, all, n, static_cast<const double*>(rows), gradient.data(), strain.data(), work);
        else aev_vjp(p, all, n, static_cast<const float*>(rows), gradient.data(), strain.data(), work);
    }
    return nb::make_tuple(owned(std::move(gradient), {n_rhs, all.n_atoms, 3}),
                          owned(std::move(strain), {n_rhs, count, 3, 3}));
}

template <typename T>
nb::object jvp_as(const AevProgram& p, const Structures& all, std::size_t n_rhs, const double* velocities,
                  const double* strains, const AevWork& work) {
    std::vector<T> rates(n_rhs * all.n_atoms * p.length);
    {
        nb::gil_scoped_release release;
        aev_jvp(p, all, static_cast<int>(n_rhs), velocities, strains, rates.data(), work);
    }
    return nb::cast(owned(std::move(rates), {n_rhs, all.n_atoms, p.length}));
}

nb::object jvp(const AevProgram& p, const Positions& positions, const Types& types, const Offsets& offsets,
               const Cells& cells, const Periodics& periodic, const Velocities& velocities, const Strains& strains,
               int threads, bool twice, const std::string& isa) {
    const Structures all = structures_of(p, positions, types, offsets, cells, periodic);
    const std::size_t n_rhs = velocities.shape(0);
    if (velocities.shape(1) != all.n_atoms || strains.shape(0) != n_rhs || strains.shape(1) != all.systems.size())
        throw std::invalid_argument("velocities must be (n, n_atoms, 3) and strains (n, n_structures, 3, 3)");
    const AevWork work{threads, isa_of(isa)};
    return twice ? jvp_as<double>(p, all, n_rhs, velocities.data(), strains.data(), work)
                 : jvp_as<float>(p, all, n_rhs, velocities.data(), strains.data(), work);
}

} // namespace

void bind_aev(nb::module_& m) {
    nb::class_<AevProgram>(m, "Aev", "Atomic environment vectors of many structures, laid out for the kernels.")
        .def_static("make", &make, nb::kw_only(), nb::arg("n_species"), nb::arg("radial_cutoff"),
                    nb::arg("angular_cutoff"), nb::arg("eta_r"), nb::arg("shf_r"), nb::arg("eta_a"), nb::arg("zeta"),
                    nb::arg("shf_a"), nb::arg("shf_z"))
        .def_prop_ro("length", [](const AevProgram& p) { return p.length; })
        .def("values", &values, nb::arg("positions"), nb::arg("types"), nb::arg("offsets"), nb::arg("cells"),
             nb::arg("periodic"), nb::kw_only(), nb::arg("threads") = 1, nb::arg("double") = false,
             nb::arg("isa") = "auto", "(n_atoms, length) of all structures, float32 or float64.")
        .def("vjp", &vjp, nb::arg("positions"), nb::arg("types"), nb::arg("offsets"), nb::arg("cells"),
             nb::arg("periodic"), nb::arg("adjoints"), nb::kw_only(), nb::arg("threads") = 1, nb::arg("isa") = "auto",
             "Adjoints (k, n_atoms, length) contracted with the Jacobian, in their precision: derivatives by "
             "positions (k, n_atoms, 3) and by strain (k, n_structures, 3, 3).")
        .def("jvp", &jvp, nb::arg("positions"), nb::arg("types"), nb::arg("offsets"), nb::arg("cells"),
             nb::arg("periodic"), nb::arg("velocities"), nb::arg("strains"), nb::kw_only(), nb::arg("threads") = 1,
             nb::arg("double") = false, nb::arg("isa") = "auto",
             "Rates of the values (k, n_atoms, length) for velocities (k, n_atoms, 3) and strain rates "
             "(k, n_structures, 3, 3): d r_ij = v_j - v_i + r_ij strain.");
}

} // namespace athanor::bindings
