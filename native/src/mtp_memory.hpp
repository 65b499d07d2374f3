// Memory of one thread of the evaluation: one allocation, cut into aligned pieces.
#pragma once

#include "mtp_scratch.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

namespace athanor {

class MtpMemory {
  public:
    // Enough for each of the potentials; `room` is how many neighbours an atom may have.
    MtpMemory(const std::vector<const MtpProgram*>& programs, int lanes, std::size_t room) {
        const auto n = static_cast<std::size_t>(lanes);
        const auto n_species = static_cast<std::size_t>(programs[0]->spec.n_species);
        std::size_t moments = 0, radial = 0, chebyshev = 0, pairs = 0;
        for (const MtpProgram* p : programs) {
            moments = std::max<std::size_t>(moments, p->n_moments);
            radial = std::max<std::size_t>(radial, p->spec.n_radial);
            chebyshev = std::max<std::size_t>(chebyshev, p->spec.n_chebyshev);
            pairs = std::max<std::size_t>(pairs, p->n_radial_parameters() / n_species);
        }
        scratch.room = padded(room);
        scratch.slot_size = 9 + 2 * radial;
        // every species may need as many slots as the lane with most of it has
        scratch.slots = padded(scratch.room * std::min(n_species, n) + unroll_forward + n);
        const std::size_t near = near_room(scratch.room), sorted = n_species > 1 ? scratch.slots : 0;
        const std::size_t doubles[] = {
            moments * n, moments * n, pairs * n, 3 * near, 3 * scratch.room * n, 3 * sorted * n,
            scratch.slots * scratch.slot_size * n, scratch.slots * chebyshev * n};
        const std::size_t integers[] = {near, scratch.room * n, scratch.slots * n, scratch.slots};
        double** first[] = {&scratch.moments, &scratch.adjoints, &scratch.row, &scratch.near,
                            &scratch.found, &scratch.sorted, &scratch.slot, &scratch.basis};
        std::int32_t** second[] = {&scratch.near_point, &scratch.points, &scratch.slot_atom, &scratch.slot_type};
        std::size_t total = 0;
        for (std::size_t size : doubles) total += padded(size);
        for (std::size_t size : integers) total += padded(size);
        data_.reset(static_cast<double*>(std::aligned_alloc(64, total * sizeof(double))));
        if (!data_) throw std::bad_alloc();
        double* next = data_.get();
        for (int k = 0; k < 8; ++k) *first[k] = next, next += padded(doubles[k]);
        for (int k = 0; k < 4; ++k) *second[k] = reinterpret_cast<std::int32_t*>(next), next += padded(integers[k]);
    }
    Scratch scratch;

  private:
    static std::size_t padded(std::size_t size) { return (size + 15) / 8 * 8; }
    struct Free { void operator()(double* p) const { std::free(p); } };
    std::unique_ptr<double, Free> data_;
};

} // namespace athanor
