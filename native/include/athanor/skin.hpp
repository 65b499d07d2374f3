// Neighbour lists with a skin, kept while atoms move little: the grid is built for a larger cutoff,
// and each atom remembers the points within it. They are made anew when an atom has moved by half
// the skin, or when cell, species or boundary conditions change.
#pragma once

#include "athanor/pairs.hpp"

namespace athanor {

class SkinList {
  public:
    explicit SkinList(double skin) : skin_(skin) {}

    // Bring the grid to these positions; true when the lists are still good, false when the grid
    // was built anew and `fill` is due.
    bool follow(const System& system, double cutoff);

    // Take the points within `reach()` of all atoms in Grid::order, concatenated, with the count of each.
    void fill(const std::vector<std::int32_t>& points, const std::vector<std::size_t>& counts);

    const Grid& grid() const { return grid_; }
    const Listed* listed() const { return listed_.data(); }
    double reach() const { return cutoff_ + skin_; }
    std::size_t builds() const { return builds_; }

  private:
    bool same(const System& system, double cutoff) const;
    void remember(const System& system, double cutoff);

    double skin_, cutoff_ = 0;
    std::size_t builds_ = 0;
    bool ready_ = false;
    Grid grid_;
    std::vector<double> x_, y_, z_; // of the points when the grid was built
    std::vector<double> positions_; // (n_atoms, 3) then
    std::vector<std::int32_t> types_;
    double cell_[9] = {};
    bool periodic_[3] = {};
    std::vector<std::int32_t> points_; // of all lists
    std::vector<Listed> listed_; // per atom
};

} // namespace athanor
