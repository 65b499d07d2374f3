// What the tests of the core share: checks, a random structure, and running one test by its name.
#pragma once

#include "athanor/system.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace athanor::testing {

inline int failures = 0;

inline void expect(bool condition, const char* what) {
    if (condition) return;
    std::printf("FAILED: %s\n", what);
    ++failures;
}

template <typename Error>
void expect_throw(const std::function<void()>& call, const char* what) {
    try {
        call();
    } catch (const Error&) {
        return;
    }
    expect(false, what);
}

struct Sample {
    std::vector<double> positions;
    std::vector<std::int32_t> types;
    System system;
};

// Atoms on a jittered grid in a sheared, possibly left-handed cell; some moved out of the box.
inline Sample sample(unsigned seed, int n_species, bool open) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> jitter(-0.25, 0.25);
    Sample s;
    const double edge = 2.6;
    const int n = 3;
    double cell[9] = {n * edge, 0, 0, 0.9, n * edge, 0, -0.7, 0.5, (seed % 2 ? -1 : 1) * n * edge};
    for (int a = 0; a < n; ++a)
        for (int b = 0; b < n; ++b)
            for (int c = 0; c < n; ++c)
                for (int d = 0; d < 3; ++d) {
                    const double at = (a * cell[d] + b * cell[3 + d] + c * cell[6 + d]) / n;
                    s.positions.push_back(at + jitter(random) + (a == 0 && d == 0 ? 5 * cell[0] : 0));
                }
    for (int i = 0; i < n * n * n; ++i) s.types.push_back(i % n_species);
    s.system.n_atoms = n * n * n;
    std::copy(cell, cell + 9, s.system.cell);
    for (int d = 0; d < 3; ++d) s.system.periodic[d] = !(open && d == 2);
    return s;
}

inline System& attached(Sample& s) {
    s.system.positions = s.positions.data();
    s.system.types = s.types.data();
    return s.system;
}

inline int run_one(const std::map<std::string, void (*)()>& tests, int argc, char** argv) {
    if (argc != 2 || !tests.count(argv[1])) {
        std::printf("name one test\n");
        return 2;
    }
    tests.at(argv[1])();
    return failures ? 1 : 0;
}

} // namespace athanor::testing
