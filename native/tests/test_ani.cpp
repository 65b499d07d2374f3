// Tests of environment vectors and ensembles of networks without Python: each name is one ctest.
#include "athanor/ani.hpp"
#include "checks.hpp"

#include <cmath>
#include <memory>
#include <stdexcept>

namespace {

using namespace athanor;
using namespace athanor::testing;

AevSpec environment(int n_species) {
    return {n_species, 4.6, 3.7, 6.0, 4.0, 7.3, {0.9, 1.7, 2.5, 3.3, 4.1}, {1.1, 2.0, 2.9}, {0.3, 0.9, 1.5, 2.1, 2.7}};
}

Structures structures(std::vector<Sample>& samples) {
    Structures all;
    for (Sample& s : samples) {
        all.systems.push_back(attached(s));
        all.offset.push_back(all.n_atoms);
        all.n_atoms += static_cast<std::size_t>(s.system.n_atoms);
    }
    return all;
}

template <typename T> std::vector<T> values(const AevProgram& p, const Structures& all, const AevWork& work = {}) {
    std::vector<T> rows(all.n_atoms * p.length);
    aev_values(p, all, rows.data(), work);
    return rows;
}

AniSpec ensemble(const AevProgram& aev, unsigned seed, int n_members) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    AniSpec s;
    s.n_members = n_members, s.scale = 2.0;
    for (int t = 0; t < aev.spec.n_species; ++t) {
        s.networks.emplace_back();
        int width = static_cast<int>(aev.length);
        for (const int next : {21, 9 + t, 1}) {
            AniLayer layer{width, next, {}, {}};
            for (int k = 0; k < n_members * next * width; ++k) layer.weights.push_back(normal(random) / std::sqrt(width));
            for (int k = 0; k < n_members * next; ++k) layer.biases.push_back(0.3 * normal(random));
            s.networks.back().push_back(layer);
            width = next;
        }
    }
    for (int k = 0; k < n_members * aev.spec.n_species; ++k) s.offsets.push_back(-50 + normal(random));
    return s;
}

template <typename T> AniProgram<T> program(int n_species, int n_members) {
    const auto aev = std::make_shared<const AevProgram>(environment(n_species));
    return AniProgram<T>(aev, ensemble(*aev, 7, n_members));
}

struct Found {
    std::vector<double> energies, forces, virial, sites, features;
    AniResult result;
};

template <typename T> Found evaluated(const AniProgram<T>& p, const System& s, const AniWork& work = {}) {
    const auto n = static_cast<std::size_t>(s.n_atoms), m = static_cast<std::size_t>(p.spec.n_members);
    const std::size_t k = work.each ? m : 1;
    Found f{std::vector<double>(m), std::vector<double>(3 * k * n), std::vector<double>(9 * k),
            std::vector<double>(m * n), std::vector<double>(n * p.n_features), {}};
    f.result.energies = f.energies.data(), f.result.forces = f.forces.data(), f.result.virial = f.virial.data();
    f.result.site_energies = f.sites.data(), f.result.features = f.features.data();
    evaluate(p, s, f.result, work);
    return f;
}

double mean(const std::vector<double>& v) {
    double sum = 0;
    for (const double x : v) sum += x;
    return sum / static_cast<double>(v.size());
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
    double worst = a.size() == b.size() ? 0 : HUGE_VAL;
    for (std::size_t k = 0; k < a.size() && k < b.size(); ++k) worst = std::max(worst, std::fabs(a[k] - b[k]));
    return worst;
}

// The formulae by hand for three atoms in the open.
void aev_of_two_and_three_atoms() {
    const AevProgram p(environment(2));
    std::vector<Sample> samples(1);
    samples[0].positions = {0, 0, 0, 2.1, 0, 0, 0.4, 2.6, 0.3};
    samples[0].types = {0, 1, 1};
    samples[0].system.n_atoms = 3;
    const Structures all = structures(samples);
    const std::vector<double> row = values<double>(p, all);
    const double a = 2.1, b = std::sqrt(0.16 + 6.76 + 0.09), cosine = 2.1 * 0.4 / (a * b);
    const auto fc = [](double r, double cutoff) { return 0.5 * std::cos(M_PI * r / cutoff) + 0.5; };
    for (int s = 0; s < 5; ++s) {
        double radial = 0;
        for (const double r : {a, b}) radial += 0.25 * std::exp(-6.0 * std::pow(r - p.spec.shf_r[s], 2)) * fc(r, 4.6);
        expect(std::fabs(row[5 + s] - radial) < 1e-14, "radial, by species");
        expect(row[s] == 0, "no neighbour of the first species");
    }
    for (int i = 0; i < 3; ++i)
        for (int z = 0; z < 5; ++z) {
            const double angle = std::acos(0.95 * cosine) - p.spec.shf_z[z];
            const double expected = 2 * std::pow((1 + std::cos(angle)) / 2, 7.3) *
                                    std::exp(-4.0 * std::pow((a + b) / 2 - p.spec.shf_a[i], 2)) * fc(a, 3.7) * fc(b, 3.7);
            expect(std::fabs(row[p.angular(1, 1) + 5 * i + z] - expected) < 1e-14, "angular, by pair of species");
            expect(row[p.angular(0, 1) + 5 * i + z] == 0, "no such triple");
        }
    const std::vector<float> single = values<float>(p, all);
    for (std::size_t k = 0; k < row.size(); ++k) expect(std::fabs(row[k] - single[k]) < 2e-6, "in float");
}

void aev_products_are_derivatives() {
    const AevProgram p(environment(2));
    std::mt19937 random(3);
    std::normal_distribution<double> normal;
    for (const bool open : {false, true}) {
        std::vector<Sample> samples = {sample(4, 2, open)};
        const Structures all = structures(samples);
        std::vector<double> v(3 * all.n_atoms), strain(9), adjoint(all.n_atoms * p.length), rates(adjoint.size());
        for (double& x : v) x = normal(random);
        for (double& x : adjoint) x = normal(random);
        aev_jvp(p, all, 1, v.data(), strain.data(), rates.data(), {});
        constexpr double h = 1e-5;
        std::vector<double> side[2];
        for (const int sign : {-1, 1}) {
            std::vector<Sample> moved = samples;
            for (std::size_t k = 0; k < v.size(); ++k) moved[0].positions[k] += sign * h * v[k];
            side[sign > 0] = values<double>(p, structures(moved));
        }
        double worst = 0;
        for (std::size_t k = 0; k < rates.size(); ++k)
            worst = std::max(worst, std::fabs(rates[k] - (side[1][k] - side[0][k]) / (2 * h)));
        expect(worst < 1e-7, "the product with a velocity is a derivative");
        // and the other product is its transpose
        std::vector<double> gradient(3 * all.n_atoms), by_strain(9);
        aev_vjp(p, all, 1, adjoint.data(), gradient.data(), by_strain.data(), {});
        double left = 0, right = 0;
        for (std::size_t k = 0; k < rates.size(); ++k) left += adjoint[k] * rates[k];
        for (std::size_t k = 0; k < v.size(); ++k) right += gradient[k] * v[k];
        expect(std::fabs(left - right) < 1e-10 * (1 + std::fabs(left)), "both products are one Jacobian");
    }
}

void aev_many_structures() {
    const AevProgram p(environment(2));
    std::vector<Sample> samples = {sample(1, 2, false), sample(2, 2, true), sample(5, 1, false)};
    const std::vector<double> together = values<double>(p, structures(samples), {2});
    std::vector<double> apart_each;
    for (const Sample& one : samples) {
        std::vector<Sample> alone = {one};
        const std::vector<double> rows = values<double>(p, structures(alone));
        apart_each.insert(apart_each.end(), rows.begin(), rows.end());
    }
    expect(apart(together, apart_each) == 0, "structures of a batch do not see each other");
}

// More neighbours than there is room for at first, in a cell much smaller than the cutoff.
void aev_crowded() {
    AevSpec spec = environment(1);
    spec.radial_cutoff = 14, spec.angular_cutoff = 7;
    const AevProgram p(spec);
    std::vector<Sample> small(1), large(1);
    small[0].positions = {0.1, 0.2, 0.3}, small[0].types = {0}, small[0].system.n_atoms = 1;
    large[0].system.n_atoms = 8;
    for (int k = 0; k < 8; ++k) {
        large[0].types.push_back(0);
        for (int d = 0; d < 3; ++d) large[0].positions.push_back(0.1 * (d + 1) + 2.2 * (k >> d & 1));
    }
    for (int d = 0; d < 3; ++d) {
        small[0].system.cell[4 * d] = 2.2, large[0].system.cell[4 * d] = 4.4;
        small[0].system.periodic[d] = large[0].system.periodic[d] = true;
    }
    const std::vector<double> one = values<double>(p, structures(small)), eight = values<double>(p, structures(large));
    double worst = 0;
    for (std::size_t k = 0; k < eight.size(); ++k) worst = std::max(worst, std::fabs(eight[k] - one[k % p.length]) / (1 + one[k % p.length]));
    expect(worst < 1e-11, "a cell repeated is the same environment");
}

void ani_forces_are_slopes() {
    const AniProgram<double> p = program<double>(2, 3);
    for (const bool open : {false, true}) {
        Sample s = sample(9, 2, open);
        const Found at = evaluated(p, attached(s)), each = evaluated(p, attached(s), {true});
        constexpr double h = 1e-5;
        for (const int k : {0, 16, 40, 77}) {
            double energy[2];
            for (const int side : {0, 1}) {
                Sample moved = s;
                moved.positions[static_cast<std::size_t>(k)] += (2 * side - 1) * h;
                energy[side] = mean(evaluated(p, attached(moved)).energies);
            }
            expect(std::fabs(at.forces[static_cast<std::size_t>(k)] + (energy[1] - energy[0]) / (2 * h)) < 1e-7, "forces");
        }
        for (std::size_t k = 0; k < at.forces.size(); ++k) {
            const std::size_t n = at.forces.size();
            expect(std::fabs(at.forces[k] - (each.forces[k] + each.forces[n + k] + each.forces[2 * n + k]) / 3) < 1e-12,
                   "the mean is that of the members");
        }
        expect((at.result.volume > 0) == !open, "volume");
        // the first member's energies are linear in its last weights and bias
        const AniSpec given = ensemble(*p.aev, 7, 3);
        for (std::size_t i = 0; i < s.types.size(); ++i) {
            const auto t = static_cast<std::size_t>(s.types[i]);
            const AniLayer& last = given.networks[t].back();
            double energy = given.offsets[t];
            for (int k = 0; k <= last.n_in; ++k)
                energy += at.features[i * p.n_features + p.feature_of[t] + static_cast<std::size_t>(k)] *
                          (k < last.n_in ? last.weights[static_cast<std::size_t>(k)] : last.biases[0]);
            expect(std::fabs(energy - at.sites[i]) < 1e-12 * std::fabs(energy), "features");
        }
    }
}

void ani_isas_and_threads_agree() {
    const AniProgram<double> p = program<double>(2, 2);
    const AniProgram<float> q = program<float>(2, 2);
    Sample s = sample(12, 2, false);
    const Found first = evaluated(p, attached(s), {true, 1, Isa::plain});
    for (const Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
        if (!supported(isa)) continue;
        for (const int threads : {1, 3}) {
            const Found other = evaluated(p, attached(s), {true, threads, isa});
            expect(apart(first.energies, other.energies) < 1e-10 && apart(first.forces, other.forces) < 1e-11, "double");
            expect(apart(first.virial, other.virial) < 1e-10 && apart(first.features, other.features) < 1e-11, "double");
            const Found single = evaluated(q, attached(s), {true, threads, isa});
            expect(apart(first.energies, single.energies) < 1e-4 && apart(first.forces, single.forces) < 1e-4, "float");
            expect(apart(first.sites, single.sites) < 1e-5, "float, by atom");
        }
    }
}

void ani_skin_follows() {
    const AniProgram<double> p = program<double>(2, 2);
    Sample s = sample(14, 2, false);
    SkinList kept(0.6);
    AniWork work;
    work.kept = &kept;
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    for (int step = 0; step < 12; ++step) {
        const Found fresh = evaluated(p, attached(s)), followed = evaluated(p, attached(s), work);
        expect(apart(fresh.energies, followed.energies) < 1e-10 && apart(fresh.forces, followed.forces) < 1e-11, "followed");
        for (double& x : s.positions) x += 0.04 * normal(random);
    }
    expect(kept.builds() > 1 && kept.builds() < 12, "lists are kept for a while");
}

void ani_faults() {
    const AniProgram<float> p = program<float>(2, 2);
    Sample s = sample(15, 2, false);
    std::copy_n(s.positions.data() + 30, 3, s.positions.data() + 60);
    expect_throw<StructureFault>([&] { evaluated(p, attached(s)); }, "coincident atoms");
    std::vector<Sample> samples = {sample(16, 2, false), s};
    const Structures all = structures(samples);
    expect_throw<StructureFault>([&] { values<float>(*p.aev, all); }, "coincident atoms of a batch");
}

void ani_programs_refuse() {
    const auto bad_aev = [](const char* what, const std::function<void(AevSpec&)>& spoil) {
        expect_throw<std::invalid_argument>([&] { AevSpec s = environment(2); spoil(s); AevProgram p(s); }, what);
    };
    bad_aev("no species", [](AevSpec& s) { s.n_species = 0; });
    bad_aev("a cutoff of zero", [](AevSpec& s) { s.angular_cutoff = 0; });
    bad_aev("a negative eta", [](AevSpec& s) { s.eta_r = -1; });
    bad_aev("no shifts", [](AevSpec& s) { s.shf_z.clear(); });
    bad_aev("a NaN shift", [](AevSpec& s) { s.shf_a[0] = std::nan(""); });
    const auto aev = std::make_shared<const AevProgram>(environment(2));
    const auto bad_ani = [&](const char* what, const std::function<void(AniSpec&)>& spoil) {
        expect_throw<std::invalid_argument>([&] { AniSpec s = ensemble(*aev, 1, 2); spoil(s); AniProgram<float> p(aev, s); }, what);
    };
    bad_ani("no members", [](AniSpec& s) { s.n_members = 0; });
    bad_ani("alpha of zero", [](AniSpec& s) { s.alpha = 0; });
    bad_ani("a species without networks", [](AniSpec& s) { s.networks.pop_back(); });
    bad_ani("offsets of the wrong number", [](AniSpec& s) { s.offsets.pop_back(); });
    bad_ani("no hidden layer", [](AniSpec& s) { s.networks[0].resize(1); });
    bad_ani("layers that do not fit", [](AniSpec& s) { s.networks[1][1].n_in = 4; });
    bad_ani("two outputs", [](AniSpec& s) { s.networks[0].pop_back(); });
    expect_throw<std::invalid_argument>([&] { AniProgram<float> p(nullptr, ensemble(*aev, 1, 2)); }, "no environment");
}

} // namespace

int main(int argc, char** argv) {
    const std::map<std::string, void (*)()> tests = {
        {"aev_of_two_and_three_atoms", aev_of_two_and_three_atoms},
        {"aev_products_are_derivatives", aev_products_are_derivatives},
        {"aev_many_structures", aev_many_structures},
        {"aev_crowded", aev_crowded},
        {"ani_forces_are_slopes", ani_forces_are_slopes},
        {"ani_isas_and_threads_agree", ani_isas_and_threads_agree},
        {"ani_skin_follows", ani_skin_follows},
        {"ani_faults", ani_faults},
        {"ani_programs_refuse", ani_programs_refuse}};
    return run_one(tests, argc, argv);
}
