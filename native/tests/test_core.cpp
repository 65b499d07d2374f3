// Tests of neighbours and moment tensor potentials without Python: each name is one ctest.
#include "athanor/mtp.hpp"
#include "athanor/pairs.hpp"
#include "checks.hpp"

#include <cmath>
#include <functional>
#include <random>

namespace {

using namespace athanor;
using namespace athanor::testing;

// A small basis by hand: M_0 rank 0..2, M_1 rank 0, and a few contractions.
MtpSpec spec(unsigned seed, int n_species, bool core) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    MtpSpec s;
    s.n_species = n_species, s.n_radial = 2, s.n_chebyshev = 5;
    s.min_dist = core ? 2.4 : 1.5, s.max_dist = 4.6, s.scaling = 0.1;
    s.basic = {{0, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {0, 2, 0, 0}, {0, 1, 1, 0},
               {0, 1, 0, 1}, {0, 0, 2, 0}, {0, 0, 1, 1}, {0, 0, 0, 2}, {1, 0, 0, 0}};
    s.times = {{0, 0, 1, 11}, {1, 1, 1, 12}, {2, 2, 1, 12}, {3, 3, 1, 12}, {4, 4, 1, 13}, {5, 5, 2, 13},
               {6, 6, 2, 13}, {7, 7, 1, 13}, {8, 8, 2, 13}, {9, 9, 1, 13}, {0, 10, 1, 14}, {0, 12, 1, 15}};
    s.mapping = {0, 10, 11, 12, 13, 14, 15};
    s.n_moments = 16;
    s.radial.resize(n_species * n_species * s.n_radial * s.n_chebyshev);
    for (double& c : s.radial) c = normal(random);
    s.species_coeffs.assign(n_species, 0.3);
    s.moment_coeffs.resize(s.mapping.size());
    for (double& c : s.moment_coeffs) c = 0.1 * normal(random);
    if (core) s.core_numbers.assign(n_species, 13);
    return s;
}

struct Values {
    MtpResult result;
    std::vector<double> forces, site, features;
};

Values values(const MtpProgram& p, const System& s, Isa isa, int threads = 1, SkinList* kept = nullptr) {
    Values v;
    v.forces.resize(3 * s.n_atoms), v.site.resize(s.n_atoms), v.features.resize(s.n_atoms * p.n_parameters());
    v.result.forces = v.forces.data();
    v.result.site_energies = v.site.data();
    v.result.features = v.features.data();
    std::vector<MtpResult> results = {v.result};
    evaluate({&p}, s, results, {threads, isa, kept});
    v.result = results[0];
    return v;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
    double worst = 0;
    for (std::size_t k = 0; k < a.size(); ++k) worst = std::max(worst, std::abs(a[k] - b[k]));
    return worst;
}

void pairs_match_brute_force() {
    for (unsigned seed = 0; seed < 6; ++seed) {
        Sample s = sample(seed, 1, seed % 3 == 2);
        const System& system = attached(s);
        const double cutoff = 5.0;
        const PairList list = all_pairs(system, cutoff);
        std::size_t count = 0;
        double moment = 0, expected = 0;
        for (int i = 0; i < system.n_atoms; ++i)
            for (int j = 0; j < system.n_atoms; ++j)
                for (int a = -9; a <= 9; ++a)
                    for (int b = -3; b <= 3; ++b)
                        for (int c = system.periodic[2] ? -3 : 0; c <= (system.periodic[2] ? 3 : 0); ++c) {
                            if (i == j && a == 0 && b == 0 && c == 0) continue;
                            double r2 = 0;
                            for (int d = 0; d < 3; ++d) {
                                const double x = s.positions[3 * j + d] - s.positions[3 * i + d] + a * system.cell[d] +
                                                 b * system.cell[3 + d] + c * system.cell[6 + d];
                                r2 += x * x;
                            }
                            if (r2 < cutoff * cutoff) ++count, expected += std::sqrt(r2);
                        }
        for (std::size_t n = 0; n < list.i.size(); ++n) {
            const double* v = &list.vectors[3 * n];
            moment += std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
        }
        expect(list.i.size() == count, "number of pairs");
        expect(std::abs(moment - expected) < 1e-8 * expected, "sum of distances");
    }
}

void cell_checks() {
    Sample s = sample(0, 1, false);
    System flat = attached(s);
    for (int d = 0; d < 3; ++d) flat.cell[6 + d] = flat.cell[d];
    expect_throw<StructureFault>([&] { all_pairs(flat, 4.0); }, "a singular cell is refused");
    System thin = attached(s);
    for (int d = 0; d < 9; ++d) thin.cell[d] *= 1e-4;
    expect_throw<StructureFault>([&] { all_pairs(thin, 5.0); }, "absurdly many images are refused");
    const MtpProgram program(spec(1, 1, false));
    System none = attached(s);
    none.n_atoms = 0;
    expect_throw<StructureFault>([&] { all_pairs(none, 4.0); }, "no atoms are refused");
    expect_throw<StructureFault>([&] { values(program, none, Isa::automatic); }, "no atoms are refused");
    for (int d = 0; d < 3; ++d) s.positions[3 + d] = s.positions[d];
    expect_throw<StructureFault>([&] { values(program, attached(s), Isa::automatic); }, "coincident atoms");
    expect_throw<StructureFault>(
        [&] {
            std::vector<double> e(program.n_parameters()), f(3 * s.system.n_atoms * e.size()), v(6 * e.size());
            MtpDesign rows{true, e.data(), f.data(), v.data()};
            design(program, attached(s), rows, Isa::automatic);
        },
        "coincident atoms in design rows");
}

void mtp_forces_are_slopes() {
    for (unsigned seed = 0; seed < 6; ++seed) {
        Sample s = sample(seed, 1 + seed % 3, seed == 4);
        const MtpProgram program(spec(seed, 1 + seed % 3, seed % 2));
        const Values at = values(program, attached(s), Isa::automatic);
        const double step = 1e-5;
        for (int k : {0, 7, 22, 40}) {
            double energy[2];
            for (int side : {0, 1}) {
                Sample moved = s;
                moved.positions[k] += side ? step : -step;
                energy[side] = values(program, attached(moved), Isa::automatic).result.energy;
            }
            expect(std::abs((energy[0] - energy[1]) / (2 * step) - at.forces[k]) < 1e-6 * (1 + std::abs(at.forces[k])),
                   "force is minus the slope of the energy");
        }
    }
}

void mtp_isas_agree() {
    for (unsigned seed = 0; seed < 4; ++seed) {
        Sample s = sample(seed, 2, false);
        const MtpProgram program(spec(seed, 2, seed % 2));
        const Values plain = values(program, attached(s), Isa::plain);
        for (Isa isa : {Isa::avx2, Isa::avx512}) {
            if (!supported(isa)) continue;
            const Values other = values(program, attached(s), isa);
            expect(std::abs(plain.result.energy - other.result.energy) < 1e-11 * s.system.n_atoms, "energy");
            expect(distance(plain.forces, other.forces) < 1e-11, "forces");
            expect(distance(plain.features, other.features) < 1e-10, "features");
        }
    }
}

void mtp_threads_agree() {
    Sample s = sample(3, 2, false);
    const MtpProgram program(spec(3, 2, true));
    const Values one = values(program, attached(s), Isa::automatic, 1);
    for (int threads : {2, 3, 64}) {
        const Values many = values(program, attached(s), Isa::automatic, threads);
        expect(distance(one.forces, many.forces) < 1e-12, "forces");
        expect(distance(one.site, many.site) == 0, "site energies");
    }
}

// A walk of small steps with a few large ones, the cell changed once: kept lists give what a new
// search gives, and are made anew only where they must be.
void skin_follows() {
    for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
        if (!supported(isa)) continue;
        std::mt19937 random(11);
        std::normal_distribution<double> normal;
        Sample s = sample(2, 2, true);
        const MtpProgram program(spec(2, 2, true));
        SkinList kept(0.6);
        for (int step = 0; step < 30; ++step) {
            const double size = step % 10 == 9 ? 0.3 : 0.01;
            for (double& x : s.positions) x += size * normal(random);
            if (step == 15) s.system.cell[0] *= 1.01;
            if (step == 20) std::swap(s.types[0], s.types[1]);
            const Values fresh = values(program, attached(s), isa);
            const Values again = values(program, attached(s), isa, 1 + step % 2, &kept);
            expect(std::abs(fresh.result.energy - again.result.energy) < 1e-11 * s.system.n_atoms, "energy");
            expect(distance(fresh.forces, again.forces) < 1e-10, "forces");
            expect(std::abs(fresh.result.virial[5] - again.result.virial[5]) < 1e-10, "virial");
        }
        expect(kept.builds() >= 5 && kept.builds() <= 9, "lists are kept while atoms move little");
    }
}

// Lists that were half made when two atoms coincided are not used.
void skin_after_a_fault() {
    Sample s = sample(4, 1, false);
    const MtpProgram program(spec(4, 1, false));
    SkinList kept(0.5);
    values(program, attached(s), Isa::automatic, 1, &kept);
    Sample bad = s;
    for (int d = 0; d < 3; ++d) bad.positions[3 + d] = bad.positions[d];
    expect_throw<StructureFault>([&] { values(program, attached(bad), Isa::automatic, 1, &kept); }, "coincident");
    const Values fresh = values(program, attached(s), Isa::automatic);
    const Values again = values(program, attached(s), Isa::automatic, 1, &kept);
    expect(distance(fresh.forces, again.forces) < 1e-10, "forces after the fault");
}

void together_is_each_alone() {
    Sample s = sample(6, 2, false);
    MtpSpec other = spec(7, 2, true);
    other.min_dist = 2.0; // potentials may differ in it
    const MtpProgram first(spec(6, 2, false)), second(other);
    const System& system = attached(s);
    std::vector<double> f1(3 * system.n_atoms), f2(3 * system.n_atoms), row(second.n_parameters());
    std::vector<MtpResult> results(2);
    results[0].forces = f1.data(), results[1].forces = f2.data();
    results[1].feature_sum = row.data();
    evaluate({&first, &second}, system, results, {2, Isa::automatic, nullptr});
    const Values one = values(first, system, Isa::automatic), two = values(second, system, Isa::automatic);
    expect(std::abs(results[0].energy - one.result.energy) < 1e-11 * system.n_atoms, "first energy");
    expect(std::abs(results[1].energy - two.result.energy) < 1e-11 * system.n_atoms, "second energy");
    expect(distance(f1, one.forces) < 1e-11 && distance(f2, two.forces) < 1e-11, "forces");
    std::vector<double> sum(row.size());
    for (std::size_t k = 0; k < two.features.size(); ++k) sum[k % row.size()] += two.features[k];
    expect(distance(sum, row) < 1e-9, "summed features");
    MtpSpec shorter = spec(6, 2, false);
    shorter.max_dist = 4.0;
    const MtpProgram third(shorter);
    expect_throw<std::invalid_argument>([&] { evaluate({&first, &third}, system, results, {}); }, "cutoffs differ");
}

// Tables so large that potentials are evaluated one after the other.
void large_tables_together() {
    Sample s = sample(8, 2, false);
    MtpSpec large = spec(8, 2, false);
    for (int n = 0; n < 50'000; ++n) large.times.push_back({n % 10, 10, 1, 14});
    const MtpProgram first(large), second(spec(9, 2, false));
    const System& system = attached(s);
    std::vector<double> f1(3 * system.n_atoms), f2(3 * system.n_atoms);
    std::vector<MtpResult> results(2);
    results[0].forces = f1.data(), results[1].forces = f2.data();
    evaluate({&first, &second}, system, results, {1, Isa::automatic, nullptr});
    const Values one = values(first, system, Isa::automatic), two = values(second, system, Isa::automatic);
    expect(results[0].energy == one.result.energy && results[1].energy == two.result.energy, "energies");
    expect(distance(f1, one.forces) == 0 && distance(f2, two.forces) == 0, "forces");
}

void mtp_design_matches_values() {
    for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
        if (!supported(isa)) continue;
        for (bool radial : {true, false}) {
            Sample s = sample(5, 2, false);
            const MtpProgram program(spec(5, 2, false));
            const Values at = values(program, attached(s), isa);
            const std::size_t width = n_columns(program, radial), first = radial ? program.n_radial_parameters() : 0;
            std::vector<double> e(width), f(3 * s.system.n_atoms * width), v(6 * width);
            MtpDesign rows{radial, e.data(), f.data(), v.data()};
            design(program, attached(s), rows, isa);
            std::vector<double> theta = program.spec.species_coeffs;
            theta.insert(theta.end(), program.spec.moment_coeffs.begin(), program.spec.moment_coeffs.end());
            const auto predicted = [&](const double* row) {
                double sum = 0;
                for (std::size_t k = 0; k < theta.size(); ++k) sum += row[first + k] * theta[k];
                return sum;
            };
            expect(std::abs(predicted(e.data()) - at.result.energy) < 1e-10, "energy from its row");
            for (int k = 0; k < 3 * s.system.n_atoms; ++k)
                expect(std::abs(predicted(&f[k * width]) - at.forces[k]) < 1e-10, "force from its row");
            expect(std::abs(predicted(v.data()) - at.result.virial[0]) < 1e-10, "virial xx from its row");
            expect(std::abs(predicted(&v[3 * width]) - at.result.virial[5]) < 1e-10, "virial yz from its row");
        }
    }
}

void mtp_core_is_continuous() {
    const MtpProgram program(spec(7, 1, true));
    const double edge = program.spec.min_dist;
    Sample s;
    s.positions = {0, 0, 0, 0, 0, 0};
    s.types = {0, 0};
    s.system.n_atoms = 2;
    double energy[2], force[2];
    for (int side : {0, 1}) {
        s.positions[5] = edge + (side ? 1e-7 : -1e-7);
        const Values v = values(program, attached(s), Isa::automatic);
        energy[side] = v.result.energy, force[side] = v.forces[5];
    }
    expect(std::abs(energy[0] - energy[1]) < 1e-5, "energy is continuous at min_dist");
    expect(std::abs(force[0] - force[1]) < 1e-4, "force is continuous at min_dist");
    MtpSpec bare = program.spec;
    bare.moment_coeffs.assign(bare.moment_coeffs.size(), 0.0);
    s.positions[5] = 0.3 * edge;
    expect(values(MtpProgram(bare), attached(s), Isa::automatic).forces[5] > 10, "the core repels");
}

void program_refuses() {
    const auto refused = [](const char* what, const std::function<void(MtpSpec&)>& spoil) {
        expect_throw<std::invalid_argument>([&] { MtpSpec s = spec(1, 1, false); spoil(s); MtpProgram program(s); }, what);
    };
    refused("radial of the wrong size", [](MtpSpec& s) { s.radial.pop_back(); });
    refused("a NaN coefficient", [](MtpSpec& s) { s.moment_coeffs[0] = std::nan(""); });
    refused("too many Chebyshev functions", [](MtpSpec& s) { s.n_chebyshev = max_chebyshev + 1; });
    refused("min_dist above max_dist", [](MtpSpec& s) { s.min_dist = 9; });
    refused("a radial function that is not there", [](MtpSpec& s) { s.basic[0][0] = 2; });
    refused("a product of moments that are not there", [](MtpSpec& s) { s.times[0][0] = 99; });
    refused("a moment used before it is complete", [](MtpSpec& s) { s.times.push_back({1, 1, 1, 12}); });
    refused("a mapping out of range", [](MtpSpec& s) { s.mapping[0] = -1; });
}

} // namespace

int main(int argc, char** argv) {
    const std::map<std::string, void (*)()> tests = {
        {"pairs_match_brute_force", pairs_match_brute_force},
        {"cell_checks", cell_checks},
        {"mtp_forces_are_slopes", mtp_forces_are_slopes},
        {"mtp_isas_agree", mtp_isas_agree},
        {"mtp_threads_agree", mtp_threads_agree},
        {"skin_follows", skin_follows},
        {"skin_after_a_fault", skin_after_a_fault},
        {"together_is_each_alone", together_is_each_alone},
        {"large_tables_together", large_tables_together},
        {"mtp_design_matches_values", mtp_design_matches_values},
        {"mtp_core_is_continuous", mtp_core_is_continuous},
        {"program_refuses", program_refuses}};
    return run_one(tests, argc, argv);
}
