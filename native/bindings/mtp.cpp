#include "arrays.hpp"

#include "athanor/mtp.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <cmath>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

namespace athanor::bindings {
namespace {

using Vector = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Radial = nb::ndarray<const double, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<const std::int32_t, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Mapping = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::vector<std::array<std::int32_t, 4>> rows_of(const Table& table) {
    std::vector<std::array<std::int32_t, 4>> rows(table.shape(0));
    for (std::size_t n = 0; n < rows.size(); ++n)
        for (int k = 0; k < 4; ++k) rows[n][k] = table.data()[4 * n + k];
    return rows;
}

std::unique_ptr<MtpProgram> make(const Table& basic, const Table& times, const Mapping& mapping, int n_moments,
                                 double min_dist, double max_dist, double scaling, const Radial& radial,
                                 const Vector& species_coeffs, const Vector& moment_coeffs,
                                 const std::vector<int>& core_numbers) {
    if (radial.shape(0) != radial.shape(1)) throw std::invalid_argument("radial: species differ in number");
    MtpSpec s;
    s.n_species = static_cast<int>(radial.shape(0));
    s.n_radial = static_cast<int>(radial.shape(2));
    s.n_chebyshev = static_cast<int>(radial.shape(3));
    s.min_dist = min_dist, s.max_dist = max_dist, s.scaling = scaling;
    s.radial.assign(radial.data(), radial.data() + radial.size());
    s.species_coeffs.assign(species_coeffs.data(), species_coeffs.data() + species_coeffs.size());
    s.moment_coeffs.assign(moment_coeffs.data(), moment_coeffs.data() + moment_coeffs.size());
    s.basic = rows_of(basic), s.times = rows_of(times);
    s.mapping.assign(mapping.data(), mapping.data() + mapping.size());
    s.n_moments = n_moments;
    s.core_numbers = core_numbers;
    return std::make_unique<MtpProgram>(s);
}

// What one evaluation is asked for, and where it goes.
struct Wanted {
    std::vector<double> forces, site, rows;
    std::size_t n, n_rows, width;
    MtpResult result;

    Wanted(const MtpProgram& p, std::size_t n_atoms, bool want_forces, bool features, bool summed)
        : forces(want_forces ? 3 * n_atoms : 0), site(n_atoms), n(n_atoms),
          n_rows(summed ? 1 : (features ? n_atoms : 0)), width(p.n_parameters()) {
        rows.resize(n_rows * width);
        result.forces = want_forces ? forces.data() : nullptr;
        result.site_energies = site.data();
        (summed ? result.feature_sum : result.features) = n_rows ? rows.data() : nullptr;
    }

    nb::tuple handed_over() {
        std::vector<double> virial(result.virial, result.virial + 9);
        const std::size_t n_forces = forces.size() / 3;
        return nb::make_tuple(result.energy, owned(std::move(forces), {n_forces, 3}), owned(std::move(virial), {3, 3}),
                              result.volume, owned(std::move(site), {n}), owned(std::move(rows), {n_rows, width}));
    }
};

nb::list evaluate_all(const std::vector<const MtpProgram*>& programs, const Positions& positions, const Types& types,
                      const Cell& cell, const Periodic& periodic, bool forces, bool features, bool summed,
                      int threads, const std::string& isa, SkinList* skin) {
    for (const MtpProgram* p : programs)
        if (!p) throw std::invalid_argument("None is no potential");
    if (programs.empty()) throw std::invalid_argument("at least one potential is needed");
    const System s = system_of(positions, types, cell, periodic, programs[0]->spec.n_species);
    const std::size_t n = positions.shape(0);
    std::vector<Wanted> wanted;
    std::vector<MtpResult> results;
    for (const MtpProgram* p : programs) wanted.emplace_back(*p, n, forces, features, summed);
    for (const Wanted& one : wanted) results.push_back(one.result);
    const Evaluation how{threads, isa_of(isa), skin};
    {
        nb::gil_scoped_release release;
        evaluate(programs, s, results, how);
    }
    nb::list all;
    for (std::size_t m = 0; m < programs.size(); ++m) {
        wanted[m].result = results[m];
        all.append(wanted[m].handed_over());
    }
    return all;
}

nb::tuple evaluate_one(const MtpProgram& p, const Positions& positions, const Types& types, const Cell& cell,
                       const Periodic& periodic, bool forces, bool features, bool summed, int threads,
                       const std::string& isa, SkinList* skin) {
    return nb::cast<nb::tuple>(
        evaluate_all({&p}, positions, types, cell, periodic, forces, features, summed, threads, isa, skin)[0]);
}

nb::tuple design_one(const MtpProgram& p, const Positions& positions, const Types& types, const Cell& cell,
                     const Periodic& periodic, bool radial, const std::string& isa) {
    const System s = system_of(positions, types, cell, periodic, p.spec.n_species);
    const std::size_t n = positions.shape(0), width = n_columns(p, radial);
    std::vector<double> energy(width), forces(3 * n * width), virial(6 * width);
    MtpDesign rows{radial, energy.data(), forces.data(), virial.data()};
    const Isa chosen = isa_of(isa);
    {
        nb::gil_scoped_release release;
        design(p, s, rows, chosen);
    }
    return nb::make_tuple(owned(std::move(energy), {width}), owned(std::move(forces), {n, 3, width}),
                          owned(std::move(virial), {6, width}));
}

using Offsets = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Cells = nb::ndarray<const double, nb::shape<-1, 3, 3>, nb::c_contig, nb::device::cpu>;
using Periodics = nb::ndarray<const bool, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const double, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;

// Weighted rows of one structure: energy, 3 n forces, 6 of the virial.
void weighted_rows(const MtpProgram& p, const System& s, const double* weights, bool radial, Isa isa, double* rows) {
    const std::size_t width = n_columns(p, radial), n_forces = 3 * static_cast<std::size_t>(s.n_atoms);
    MtpDesign target{radial, rows, rows + width, rows + width * (1 + n_forces)};
    design(p, s, target, isa);
    const auto scale = [&](std::size_t row, double w) {
        for (std::size_t c = 0; c < width; ++c) rows[row * width + c] *= w;
    };
    scale(0, weights[0]);
    for (std::size_t n = 0; n < n_forces; ++n) scale(1 + n, weights[1]);
    // the three shear components stand for two elements of the tensor each
    for (std::size_t v = 0; v < 6; ++v) scale(1 + n_forces + v, weights[2] * (v < 3 ? 1 : std::sqrt(2.0)));
}

nb::ndarray<nb::numpy, double> design_many(const MtpProgram& p, const Positions& positions, const Types& types,
                                           const Offsets& offsets, const Cells& cells, const Periodics& periodic,
                                           const Weights& weights, bool radial, int threads, const std::string& isa) {
    const std::size_t count = cells.shape(0), width = n_columns(p, radial);
    if (offsets.shape(0) != count + 1 || periodic.shape(0) != count || weights.shape(0) != count)
        throw std::invalid_argument("offsets, cells, periodic and weights differ in length");
    std::vector<System> systems(count);
    for (std::size_t k = 0; k < count; ++k) {
        System& s = systems[k];
        const std::int64_t begin = offsets.data()[k], end = offsets.data()[k + 1];
        if (begin < 0 || end < begin || end > static_cast<std::int64_t>(positions.shape(0)) ||
            types.shape(0) != positions.shape(0))
            throw std::invalid_argument("offsets do not fit the positions");
        s.n_atoms = static_cast<int>(end - begin);
        s.positions = positions.data() + 3 * begin;
        s.types = types.data() + begin;
        for (int n = 0; n < s.n_atoms; ++n)
            if (s.types[n] < 0 || s.types[n] >= p.spec.n_species) throw std::invalid_argument("a species index is out of range");
        for (int n = 0; n < 9; ++n) s.cell[n] = cells.data()[9 * k + n];
        for (int n = 0; n < 3; ++n) s.periodic[n] = periodic.data()[3 * k + n];
    }
    const std::size_t n_rows = 7 * count + 3 * positions.shape(0);
    std::vector<double> rows(n_rows * width);
    const Isa chosen = isa_of(isa);
    std::exception_ptr error;
    {
        nb::gil_scoped_release release;
        std::atomic<std::size_t> next{0};
        std::mutex guard;
        const auto work = [&] {
            try {
                for (std::size_t k = next++; k < count; k = next++)
                    weighted_rows(p, systems[k], weights.data() + 3 * k, radial, chosen,
                                  rows.data() + width * (7 * k + 3 * offsets.data()[k]));
            } catch (...) {
                const std::lock_guard<std::mutex> lock(guard);
                if (!error) error = std::current_exception();
            }
        };
        std::vector<std::thread> pool;
        try {
            for (int t = 1; t < threads; ++t) pool.emplace_back(work);
        } catch (const std::system_error&) { // no more threads are to be had: these do all
        }
        work();
        for (std::thread& t : pool) t.join();
    }
    if (error) std::rethrow_exception(error);
    return owned(std::move(rows), {n_rows, width});
}

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names = {"plain"};
    if (supported(Isa::avx2)) names.push_back("avx2");
    if (supported(Isa::avx512)) names.push_back("avx512");
    return names;
}

} // namespace

void bind_mtp(nb::module_& m) {
    m.def("instruction_sets", &instruction_sets, "What this processor can run, narrowest first.");
    nb::class_<SkinList>(m, "SkinList", "Neighbours kept from one evaluation to the next, while atoms move little.")
        .def(nb::init<double>(), nb::arg("skin"))
        .def_prop_ro("builds", &SkinList::builds, "How often the lists were made anew.");
    nb::class_<MtpProgram>(m, "Mtp", "A moment tensor potential laid out for the kernels.")
        .def_static("make", &make, nb::kw_only(), nb::arg("basic"), nb::arg("times"), nb::arg("mapping"),
                    nb::arg("n_moments"), nb::arg("min_dist"), nb::arg("max_dist"), nb::arg("scaling"),
                    nb::arg("radial"), nb::arg("species_coeffs"), nb::arg("moment_coeffs"),
                    nb::arg("core_numbers"))
        .def_prop_ro("n_parameters", &MtpProgram::n_parameters)
        .def_prop_ro("n_products", [](const MtpProgram& p) { return p.products.size(); })
        .def("evaluate", &evaluate_one, nb::arg("positions"), nb::arg("types"), nb::arg("cell"), nb::arg("periodic"),
             nb::kw_only(), nb::arg("forces") = true, nb::arg("features") = false, nb::arg("summed") = false,
             nb::arg("threads") = 1, nb::arg("isa") = "auto", nb::arg("skin") = nb::none(),
             "(energy eV, forces (n,3) eV/Å, dE/dstrain (3,3) eV, volume Å^3, site energies (n,), "
             "features (n,p); with `summed` their sum over atoms instead, (1,p))")
        .def_static("evaluate_together", &evaluate_all, nb::arg("programs"), nb::arg("positions"), nb::arg("types"),
             nb::arg("cell"), nb::arg("periodic"),
             nb::kw_only(), nb::arg("forces") = true, nb::arg("features") = false, nb::arg("summed") = false,
             nb::arg("threads") = 1, nb::arg("isa") = "auto", nb::arg("skin") = nb::none(),
             "The same of several potentials with one search for neighbours: a list of such tuples.")
        .def("design", &design_one, nb::arg("positions"), nb::arg("types"), nb::arg("cell"), nb::arg("periodic"),
             nb::kw_only(), nb::arg("radial") = true, nb::arg("isa") = "auto",
             "Derivatives by parameters of energy (p,), forces (n,3,p) and dE/dstrain (6,p).")
        .def("design_many", &design_many, nb::arg("positions"), nb::arg("types"), nb::arg("offsets"), nb::arg("cells"),
             nb::arg("periodic"), nb::arg("weights"), nb::kw_only(), nb::arg("radial") = true, nb::arg("threads") = 1,
             nb::arg("isa") = "auto",
             "Weighted design rows of many structures; per structure 1 + 3 n + 6 rows, weights are (k, 3).");
}

} // namespace athanor::bindings
