#include "athanor/skin.hpp"

#include <algorithm>

namespace athanor {

bool SkinList::same(const System& s, double cutoff) const {
    if (!ready_ || cutoff != cutoff_ || static_cast<std::size_t>(s.n_atoms) != types_.size()) return false;
    if (!std::equal(cell_, cell_ + 9, s.cell) || !std::equal(periodic_, periodic_ + 3, s.periodic)) return false;
    if (!std::equal(types_.begin(), types_.end(), s.types)) return false;
    const double limit = 0.25 * skin_ * skin_;
    for (int i = 0; i < s.n_atoms; ++i) {
        double square = 0;
        for (int d = 0; d < 3; ++d) {
            const double moved = s.positions[3 * i + d] - positions_[3 * i + d];
            square += moved * moved;
        }
        if (!(square < limit)) return false;
    }
    return true;
}

void SkinList::remember(const System& s, double cutoff) {
    cutoff_ = cutoff;
    positions_.assign(s.positions, s.positions + 3 * static_cast<std::size_t>(s.n_atoms));
    types_.assign(s.types, s.types + s.n_atoms);
    std::copy(s.cell, s.cell + 9, cell_);
    std::copy(s.periodic, s.periodic + 3, periodic_);
    ready_ = false; // until the lists are there: a search may end in an exception
    ++builds_;
    grid_.build(s, cutoff + skin_);
    x_ = grid_.x, y_ = grid_.y, z_ = grid_.z;
    listed_.assign(s.n_atoms, {});
}

bool SkinList::follow(const System& s, double cutoff) {
    if (!same(s, cutoff)) {
        remember(s, cutoff);
        return false;
    }
    const auto n = static_cast<std::size_t>(grid_.start.back());
    for (std::size_t p = 0; p < n; ++p) {
        const std::size_t i = 3 * static_cast<std::size_t>(grid_.atom[p]);
        grid_.x[p] = x_[p] + (s.positions[i] - positions_[i]);
        grid_.y[p] = y_[p] + (s.positions[i + 1] - positions_[i + 1]);
        grid_.z[p] = z_[p] + (s.positions[i + 2] - positions_[i + 2]);
    }
    return true;
}

void SkinList::fill(const std::vector<std::int32_t>& points, const std::vector<std::size_t>& counts) {
    // the first padding point of the grid is beyond any cutoff
    const std::int32_t far = grid_.start.back();
    points_.clear();
    auto from = points.begin();
    for (const std::size_t count : counts) {
        points_.insert(points_.end(), from, from + count);
        points_.resize((points_.size() + 7) / 8 * 8, far);
        from += count;
    }
    const std::int32_t* next = points_.data();
    for (std::size_t k = 0; k < counts.size(); ++k) {
        const std::size_t padded = (counts[k] + 7) / 8 * 8;
        listed_[grid_.order[k]] = {next, padded};
        next += padded;
    }
    ready_ = true;
}

} // namespace athanor
