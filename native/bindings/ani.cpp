#include "arrays.hpp"

#include "athanor/ani.hpp"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace athanor::bindings {
namespace {

using Weights = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Biases = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Energies = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// In one of the two precisions.
struct Ani {
    std::unique_ptr<AniProgram<float>> single;
    std::unique_ptr<AniProgram<double>> twice;

    const AniSpec& spec() const { return single ? single->spec : twice->spec; }
    const AevProgram& aev() const { return single ? *single->aev : *twice->aev; }
    std::size_t n_features() const { return single ? single->n_features : twice->n_features; }
    void evaluate(const System& s, AniResult& result, const AniWork& work) const {
        if (single) athanor::evaluate(*single, s, result, work);
        else athanor::evaluate(*twice, s, result, work);
    }
};

std::unique_ptr<Ani> make(std::shared_ptr<AevProgram> aev, const std::vector<std::vector<Weights>>& weights,
                          const std::vector<std::vector<Biases>>& biases, double alpha, double scale,
                          const Energies& offsets, bool twice) {
    AniSpec spec;
    spec.n_members = static_cast<int>(offsets.shape(0));
    spec.alpha = alpha, spec.scale = scale;
    spec.offsets.assign(offsets.data(), offsets.data() + offsets.size());
    if (weights.size() != biases.size()) throw std::invalid_argument("weights and biases differ in number");
    for (std::size_t t = 0; t < weights.size(); ++t) {
        if (weights[t].size() != biases[t].size()) throw std::invalid_argument("weights and biases differ in number");
        spec.networks.emplace_back();
        for (std::size_t l = 0; l < weights[t].size(); ++l) {
            const Weights& w = weights[t][l];
            const Biases& b = biases[t][l];
            if (w.shape(0) != offsets.shape(0) || b.shape(0) != offsets.shape(0))
                throw std::invalid_argument("weights, biases and offsets differ in members");
            spec.networks.back().push_back({static_cast<int>(w.shape(2)), static_cast<int>(w.shape(1)),
                                            std::vector<double>(w.data(), w.data() + w.size()),
                                            std::vector<double>(b.data(), b.data() + b.size())});
        }
    }
    auto ani = std::make_unique<Ani>();
    if (twice) ani->twice = std::make_unique<AniProgram<double>>(std::move(aev), std::move(spec));
    else ani->single = std::make_unique<AniProgram<float>>(std::move(aev), std::move(spec));
    return ani;
}

nb::tuple evaluate(const Ani& ani, const Positions& positions, const Types& types, const Cell& cell,
                   const Periodic& periodic, bool forces, bool each, bool features, int threads,
                   const std::string& isa, SkinList* skin) {
    const System s = system_of(positions, types, cell, periodic, ani.aev().spec.n_species);
    const std::size_t n = positions.shape(0), n_members = static_cast<std::size_t>(ani.spec().n_members);
    const std::size_t k = forces ? (each ? n_members : 1) : 0, n_rows = features ? n : 0;
    std::vector<double> energies(n_members), gradient(3 * k * n), virial(9 * k), site(n_members * n);
    std::vector<double> rows(n_rows * ani.n_features());
    AniResult result;
    result.energies = energies.data(), result.site_energies = site.data();
    if (forces) result.forces = gradient.data(), result.virial = virial.data();
    if (features) result.features = rows.data();
    const AniWork work{each, threads, isa_of(isa), skin};
    {
        nb::gil_scoped_release release;
        ani.evaluate(s, result, work);
    }
    return nb::make_tuple(owned(std::move(energies), {n_members}), owned(std::move(gradient), {k, n, 3}),
                          owned(std::move(virial), {k, 3, 3}), result.volume, owned(std::move(site), {n_members, n}),
                          owned(std::move(rows), {n_rows, ani.n_features()}));
}

} // namespace

void bind_ani(nb::module_& m) {
    nb::class_<Ani>(m, "Ani", "An ensemble of ANI networks laid out for the kernels.")
        .def_static("make", &make, nb::arg("aev"), nb::arg("weights"), nb::arg("biases"), nb::kw_only(),
                    nb::arg("alpha"), nb::arg("scale"), nb::arg("offsets"), nb::arg("double") = false)
        .def_prop_ro("n_members", [](const Ani& ani) { return ani.spec().n_members; })
        .def("evaluate", &evaluate, nb::arg("positions"), nb::arg("types"), nb::arg("cell"), nb::arg("periodic"),
             nb::kw_only(), nb::arg("forces") = true, nb::arg("each") = false, nb::arg("features") = false,
             nb::arg("threads") = 1, nb::arg("isa") = "auto", nb::arg("skin") = nb::none(),
             "(energies (members,) eV, forces (k,n,3) eV/Å, dE/dstrain (k,3,3) eV, volume Å^3, site energies "
             "(members,n), features (n,p) of the first member); k is the number of members with `each`, else 1 for "
             "their mean.");
}

} // namespace athanor::bindings
