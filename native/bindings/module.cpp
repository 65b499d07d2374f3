#include "arrays.hpp"

#include "athanor/pairs.hpp"

using namespace athanor::bindings;

NB_MODULE(_core, m) {
    m.doc() = "athanor's C++ core";
    nb::exception<athanor::StructureFault>(m, "StructureFault", PyExc_ValueError);
    m.def(
        "all_pairs",
        [](Positions positions, Cell cell, Periodic periodic, double cutoff) {
            const std::vector<std::int32_t> types(positions.shape(0), 0);
            athanor::System s;
            s.n_atoms = static_cast<int>(positions.shape(0));
            s.positions = positions.data();
            s.types = types.data();
            for (int k = 0; k < 9; ++k) s.cell[k] = cell.data()[k];
            for (int k = 0; k < 3; ++k) s.periodic[k] = periodic.data()[k];
            athanor::PairList list;
            {
                nb::gil_scoped_release release;
                list = athanor::all_pairs(s, cutoff);
            }
            const std::size_t n = list.i.size();
            return nb::make_tuple(owned(std::move(list.i), {n}), owned(std::move(list.j), {n}),
                                  owned(std::move(list.vectors), {n, 3}));
        },
        nb::arg("positions"), nb::arg("cell"), nb::arg("periodic"), nb::arg("cutoff"),
        "Directed pairs (i, j, r_j - r_i) closer than the cutoff (Å), images included.");
    bind_mtp(m);
    bind_aev(m);
    bind_ani(m);
}
