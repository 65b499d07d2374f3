// Memory and dispatch of the design rows.
#include "mtp_design.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>

namespace athanor {
namespace {

using DesignAtom = std::size_t (*)(DesignJob&, DesignScratch&, int);

DesignAtom kernel_for(Isa isa) {
    isa = chosen(isa);
#ifdef ATHANOR_X86
    if (isa == Isa::avx512) return avx512::design_atom;
    if (isa == Isa::avx2) return avx2::design_atom;
#endif
    return plain::design_atom;
}

class Memory {
  public:
    Memory(const MtpProgram& p, const DesignSizes& sizes, const std::vector<std::size_t>& start, bool radial,
           std::size_t room)
        : points_(2 * room) {
        scratch.room = room;
        scratch.points = points_.data();
        scratch.near_point = points_.data() + room;
        scratch.sparse_start = start.data();
        const std::size_t moments = p.n_moments, tangents = radial ? moments * sizes.radial : 0;
        const std::size_t lengths[] = {
            3 * room, 3 * room, 4 * room, 2 * room * p.spec.n_chebyshev, 2 * room * p.spec.n_radial,
            room * p.n_monomials,
            4 * static_cast<std::size_t>(p.n_monomials), moments, moments, tangents, tangents, sizes.sparse,
            p.n_basic * sizes.columns, 3 * room * p.n_summed, 3 * room * sizes.columns};
        double** pieces[] = {
            &scratch.near, &scratch.found, &scratch.unit, &scratch.basis, &scratch.functions, &scratch.monomials, &scratch.slopes,
            &scratch.moments, &scratch.adjoints, &scratch.tangents, &scratch.tangent_adjoints,
            &scratch.sparse, &scratch.matrix, &scratch.gradients, &scratch.rows};
        std::size_t total = 0;
        for (std::size_t length : lengths) total += padded8(length);
        data_.reset(static_cast<double*>(std::aligned_alloc(64, std::max<std::size_t>(1, total) * sizeof(double))));
        if (!data_) throw std::bad_alloc();
        double* next = data_.get();
        for (int k = 0; k < 15; ++k) *pieces[k] = next, next += padded8(lengths[k]);
    }
    DesignScratch scratch;

  private:
    struct Free { void operator()(double* p) const { std::free(p); } };
    std::unique_ptr<double, Free> data_;
    std::vector<std::int32_t> points_;
};

} // namespace

int n_columns(const MtpProgram& p, bool radial) {
    return p.spec.n_species + p.n_scalars() + (radial ? p.n_radial_parameters() : 0);
}

void design(const MtpProgram& program, const System& system, MtpDesign& rows, Isa isa) {
    const DesignAtom run = kernel_for(isa);
    const std::size_t width = n_columns(program, rows.radial);
    std::fill_n(rows.energy, width, 0.0);
    std::fill_n(rows.forces, 3 * width * system.n_atoms, 0.0);
    std::fill_n(rows.virial, 6 * width, 0.0);
    Grid grid;
    grid.build(system, program.spec.max_dist);
    DesignSizes sizes{};
    sizes.linear = padded8(program.n_scalars());
    sizes.radial = rows.radial ? padded8(program.n_radial_parameters() / program.spec.n_species) : 0;
    sizes.columns = sizes.linear + sizes.radial;
    std::vector<std::size_t> start(program.n_moments, 0);
    for (int m = program.n_basic; m < program.n_moments; ++m) {
        start[m] = sizes.sparse;
        sizes.sparse += 8 * program.blocks[m].size();
    }
    DesignJob job{&program, &system, &grid, sizes, &rows, {-1, -1}};
    auto memory = std::make_unique<Memory>(program, sizes, start, rows.radial, 256);
    for (int i = 0; i < system.n_atoms; ++i) {
        while (const std::size_t needed = run(job, memory->scratch, i))
            memory = std::make_unique<Memory>(program, sizes, start, rows.radial, needed + 32);
        if (job.fault[0] >= 0)
            throw StructureFault("atoms " + std::to_string(job.fault[0]) + " and " +
                                 std::to_string(job.fault[1]) + " coincide (closer than 0.001 Å)");
    }
}

} // namespace athanor
