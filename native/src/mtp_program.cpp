// From the tables of a potential to the order in which the kernels want them.
#include "athanor/mtp.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <stdexcept>
#include <string>

namespace athanor {
namespace {

void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

bool finite(const std::vector<double>& values) {
    return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

void check(const MtpSpec& s) {
    require(s.n_species > 0 && s.n_radial > 0 && s.n_chebyshev > 0, "sizes must be positive");
    require(s.n_radial <= max_radial, "at most 64 radial functions are possible");
    require(s.n_chebyshev <= max_chebyshev, "at most 64 Chebyshev functions are possible");
    require(s.min_dist >= 0 && s.max_dist > s.min_dist, "0 <= min_dist < max_dist is needed");
    const std::size_t pairs = static_cast<std::size_t>(s.n_species) * s.n_species;
    require(s.radial.size() == pairs * s.n_radial * s.n_chebyshev, "radial: wrong size");
    require(s.species_coeffs.size() == static_cast<std::size_t>(s.n_species), "species_coeffs: wrong size");
    require(s.moment_coeffs.size() == s.mapping.size(), "moment_coeffs: wrong size");
    require(finite(s.radial) && finite(s.species_coeffs) && finite(s.moment_coeffs) &&
                std::isfinite(s.scaling), "coefficients must be finite");
    require(s.core_numbers.empty() || s.core_numbers.size() == s.species_coeffs.size(),
            "core_numbers: wrong size");
    for (const auto& b : s.basic)
        require(b[0] >= 0 && b[0] < s.n_radial && b[1] >= 0 && b[2] >= 0 && b[3] >= 0 &&
                    b[1] + b[2] + b[3] <= 64, "basic: a row is out of range");
    const auto n_basic = static_cast<std::int32_t>(s.basic.size());
    require(n_basic > 0 && n_basic <= s.n_moments, "n_moments must be at least the basic ones");
    for (const auto& t : s.times)
        require(t[0] >= 0 && t[1] >= 0 && t[0] < s.n_moments && t[1] < s.n_moments &&
                    t[3] >= n_basic && t[3] < s.n_moments, "times: an index is out of range");
    for (std::int32_t m : s.mapping) require(m >= 0 && m < s.n_moments, "mapping: out of range");
}

using Powers = std::array<int, 3>;

int rank_of(const Powers& e) { return e[0] + e[1] + e[2]; }

int index_of(const Powers& e) {
    return e[2] ? tall_index(rank_of(e), e[1]) : plain_index(rank_of(e), e[1]);
}

// The monomials with at most one z up to `top`, each one multiplication from one of lower rank.
void lay_monomials(MtpProgram& p, int top) {
    p.n_monomials = (top + 1) * (top + 1);
    for (int r = 0; r <= top; ++r)
        for (int c = 0; c <= std::min(r, 1); ++c)
            for (int b = 0; b <= r - c; ++b) {
                const Powers me = {r - c - b, b, c};
                std::array<std::int32_t, 3> low{};
                std::array<double, 3> power{};
                for (int k = 0; k < 3; ++k) {
                    Powers less = me;
                    --less[k];
                    low[k] = me[k] ? index_of(less) : -1;
                    power[k] = me[k];
                }
                const int axis = me[2] ? 2 : (me[0] ? 0 : 1);
                p.parent.push_back(r ? low[axis] : 0);
                p.axis.push_back(axis);
                p.lower.push_back(low);
                p.power.push_back(power);
            }
}

// The number of a basic moment; those with z twice or more are made, and what they follow from.
std::int32_t basic_of(MtpProgram& p, std::map<std::pair<int, Powers>, std::int32_t>& made, int mu,
                      const Powers& e) {
    if (e[2] < 2) return p.offset[mu] + index_of(e);
    const auto known = made.find({mu, e});
    if (known != made.end()) return known->second;
    const std::int32_t whole = basic_of(p, made, mu, {e[0], e[1], e[2] - 2});
    const std::int32_t first = basic_of(p, made, mu, {e[0] + 2, e[1], e[2] - 2});
    const std::int32_t second = basic_of(p, made, mu, {e[0], e[1] + 2, e[2] - 2});
    const std::int32_t me = p.n_basic++;
    p.traces.push_back({me, whole, first, second});
    made[{mu, e}] = me;
    return me;
}

// Number every moment anew; returns old -> new.
std::vector<std::int32_t> renumber(MtpProgram& p) {
    const MtpSpec& s = p.spec;
    p.rank.assign(s.n_radial, 0);
    for (const auto& b : s.basic) p.rank[b[0]] = std::max(p.rank[b[0]], b[1] + b[2] + b[3]);
    lay_monomials(p, *std::max_element(p.rank.begin(), p.rank.end()));
    for (int mu = 0; mu < s.n_radial; ++mu) {
        p.offset.push_back(p.n_summed);
        p.prefix.push_back((p.rank[mu] + 1) * (p.rank[mu] + 1));
        p.n_summed += p.prefix.back();
    }
    p.n_basic = p.n_summed;
    std::map<std::pair<int, Powers>, std::int32_t> made;
    std::vector<std::int32_t> renamed(s.n_moments, -1);
    for (std::size_t n = 0; n < s.basic.size(); ++n) {
        const auto& b = s.basic[n];
        renamed[n] = basic_of(p, made, b[0], {b[1], b[2], b[3]});
    }
    p.n_moments = p.n_basic;
    for (std::size_t m = s.basic.size(); m < renamed.size(); ++m) renamed[m] = p.n_moments++;
    return renamed;
}

// Group the products by target, targets in an order in which factors are complete when used.
void lay_products(MtpProgram& p, const std::vector<std::int32_t>& renamed) {
    std::map<std::int32_t, std::vector<Product>> by_target;
    std::vector<bool> used(p.n_moments, false);
    for (const auto& t : p.spec.times) {
        const std::int32_t i = renamed[t[0]], j = renamed[t[1]], k = renamed[t[3]];
        require(i != k && j != k && !used[k],
                "times: moment " + std::to_string(t[3]) + " is used before it is complete");
        used[i] = used[j] = true;
        by_target[k].push_back({i, j, static_cast<double>(t[2])});
    }
    // a target's first term may stand before a factor of its later terms: order by last appearance
    std::vector<std::int32_t> last;
    std::set<std::int32_t> seen;
    for (auto t = p.spec.times.rbegin(); t != p.spec.times.rend(); ++t)
        if (seen.insert(renamed[(*t)[3]]).second) last.push_back(renamed[(*t)[3]]);
    std::reverse(last.begin(), last.end());
    for (std::int32_t k : last) {
        const auto begin = static_cast<std::int32_t>(p.products.size());
        for (const Product& product : by_target[k]) p.products.push_back(product);
        p.runs.push_back({k, begin, static_cast<std::int32_t>(p.products.size())});
    }
}

using Terms = std::map<double, std::vector<Fold::Entry>>; // by multiplier

void append(Fold& fold, std::int32_t target, const Terms& terms, double constant) {
    const auto begin = static_cast<std::int32_t>(fold.parts.size());
    for (const auto& [multiplier, entries] : terms) {
        const auto first = static_cast<std::int32_t>(fold.entries.size());
        fold.entries.insert(fold.entries.end(), entries.begin(), entries.end());
        fold.parts.push_back({multiplier, first, static_cast<std::int32_t>(fold.entries.size())});
    }
    fold.sums.push_back({target, begin, static_cast<std::int32_t>(fold.parts.size()), constant});
}

// Both directions gather: what is summed is in a register, and written once.
void lay_folds(MtpProgram& p) {
    std::vector<Terms> above(p.n_moments);
    std::vector<bool> filled(p.n_moments, false);
    for (const MtpProgram::Run& run : p.runs) filled[run.target] = true;
    for (std::int32_t m = p.n_basic; m < p.n_moments; ++m) // nothing adds up to it: zero
        if (!filled[m]) append(p.forward, m, {}, 0);
    for (const MtpProgram::Run& run : p.runs) {
        Terms terms;
        for (int n = run.begin; n < run.end; ++n) {
            const Product& f = p.products[n];
            terms[f.multiplier].push_back({f.i, f.j});
            if (f.i == f.j) {
                above[f.i][2 * f.multiplier].push_back({run.target, f.i});
                continue;
            }
            above[f.i][f.multiplier].push_back({run.target, f.j});
            above[f.j][f.multiplier].push_back({run.target, f.i});
        }
        append(p.forward, run.target, terms, 0);
    }
    std::vector<double> constant(p.n_moments, 0);
    for (int k = 0; k < p.n_scalars(); ++k) constant[p.scalars[k]] += p.spec.moment_coeffs[k];
    const auto gather = [&](std::int32_t m) { append(p.reverse, m, above[m], constant[m]); };
    for (auto run = p.runs.rbegin(); run != p.runs.rend(); ++run) gather(run->target);
    for (std::int32_t m = p.n_moments; m-- > 0;)
        if (!filled[m]) gather(m);
}

// Which blocks of 8 scalar functions depend on each moment.
void lay_blocks(MtpProgram& p) {
    std::vector<std::set<std::int32_t>> reach(p.n_moments);
    for (int k = 0; k < p.n_scalars(); ++k) reach[p.scalars[k]].insert(k / 8);
    for (auto run = p.runs.rbegin(); run != p.runs.rend(); ++run)
        for (int n = run->begin; n < run->end; ++n)
            for (std::int32_t m : {p.products[n].i, p.products[n].j})
                reach[m].insert(reach[run->target].begin(), reach[run->target].end());
    for (auto t = p.traces.rbegin(); t != p.traces.rend(); ++t)
        for (std::int32_t m : {t->whole, t->first, t->second})
            reach[m].insert(reach[t->target].begin(), reach[t->target].end());
    p.blocks.resize(p.n_moments);
    for (int m = 0; m < p.n_moments; ++m) p.blocks[m].assign(reach[m].begin(), reach[m].end());
}

// Q_q(r) = T_q(xi) (r - Rc)^2 and its derivative at min_dist, where xi = -1: T_q = (-1)^q,
// T'_q = -(-1)^q q^2.
void lay_edge(MtpProgram& p) {
    const MtpSpec& s = p.spec;
    const double span = s.max_dist - s.min_dist;
    for (int derivative = 0; derivative < 2; ++derivative)
        for (int q = 0; q < s.n_chebyshev; ++q) {
            const double sign = q % 2 ? -1 : 1;
            const double slope = -sign * q * q * 2 / span;
            p.edge.push_back(derivative ? slope * span * span - sign * 2 * span
                                        : sign * span * span);
        }
}

} // namespace

MtpProgram::MtpProgram(const MtpSpec& specification) : spec(specification) {
    check(spec);
    const auto renamed = renumber(*this);
    lay_products(*this, renamed);
    for (std::int32_t m : spec.mapping) scalars.push_back(renamed[m]);
    for (double c : spec.radial) scaled.push_back(c * spec.scaling);
    lay_folds(*this);
    lay_blocks(*this);
    lay_edge(*this);
}

} // namespace athanor
