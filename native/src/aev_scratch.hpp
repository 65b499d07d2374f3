// Memory of one thread for environment vectors, and the atoms they are computed of.
#pragma once

#include "athanor/aev.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace athanor {

constexpr int aev_block = 32; // atoms whose neighbours are found before anything is computed
constexpr std::size_t widest_vector = 16; // numbers in the widest vector of any instruction set
constexpr std::size_t chunk_goal = 128; // triples whose angles and distances are held at once

// Atoms of one block, in the order of Grid::order.
struct AevBlock {
    const AevProgram* program;
    const System* system;
    const Grid* grid;
    const Listed* listed; // per atom, points to look at; null: search the grid
    const std::int32_t* atoms;
    int count; // at most aev_block
};

// Neighbours of one atom in T, by species, those within the angular cutoff first. Every species is
// followed by at least a vector of neighbours that count nothing.
template <typename T> struct Shell {
    T *x, *y, *z, *r, *inverse; // vector to the neighbour, its length
    T *ux, *uy, *uz; // unit vector
    T *fr, *dfr, *fa, *dfa; // cutoff functions and slopes, radial and angular
    std::int32_t* atom;
    int *begin, *end, *n_all, *n_angular; // per species; `end` is that of the padding
};

// Triples j < k of one atom, one after the other, of some rows j.
template <typename T> struct Triples {
    T *cosine, *mean, *weight; // cos(theta), (r_ij + r_ik) / 2, 2 fc fc
    T *p, *dp, *q, *dq; // (n_z, room) and (n_a, room): factors and derivatives by cosine and by mean
    T *e0, *ec, *er; // contracted with one adjoint
    T *cosine_rate, *mean_rate, *weight_rate, *p_rate, *p_along; // along one velocity; the last two (n_z, room)
    T* sums; // (n_rhs, n_a, n_z, vector)
    std::size_t room;
};

// Per neighbour, what moves along its distance and what turns its direction: a velocity, or a derivative.
template <typename T> struct Turn {
    T *along, *x, *y, *z;
};

template <typename T> struct AevScratch {
    std::size_t room = 0; // neighbours an atom may have
    double *near = nullptr, *found = nullptr; // (3, near room), (aev_block, 3, room)
    std::int32_t *near_point = nullptr, *points = nullptr; // (near room,), (aev_block, room)
    std::size_t counts[aev_block] = {};
    Shell<T> shell = {};
    std::size_t shell_size = 0;
    T* turns = nullptr; // (n_rhs, 4, shell)
    T* slope = nullptr; // (shell, n_r): derivatives of radial functions
    Turn<T> turn(int rhs) const {
        T* first = turns + 4 * shell_size * static_cast<std::size_t>(rhs);
        return {first, first + shell_size, first + 2 * shell_size, first + 3 * shell_size};
    }
    Triples<T> triples = {};
    int fault[2] = {-1, -1}; // two atoms that coincide
};

inline std::size_t aev_near_room(std::size_t room) { return 8 * room; }

template <typename T> class AevMemory {
  public:
    AevMemory(const AevProgram& p, std::size_t wanted_room, int n_rhs) {
        const std::size_t room = (wanted_room + 15) / 16 * 16, near = aev_near_room(room);
        const auto n_species = static_cast<std::size_t>(p.spec.n_species);
        const std::size_t shell = room + n_species * 2 * widest_vector;
        const std::size_t triples = (chunk_goal + shell + 3 * widest_vector + 15) / 16 * 16;
        const auto n_a = static_cast<std::size_t>(p.n_a), n_z = static_cast<std::size_t>(p.n_z);
        Pieces s;
        scratch.room = room;
        s.add(scratch.near, 3 * near), s.add(scratch.found, aev_block * 3 * room);
        s.add(scratch.near_point, near), s.add(scratch.points, aev_block * room);
        Shell<T>& e = scratch.shell;
        for (T** array : {&e.x, &e.y, &e.z, &e.r, &e.inverse, &e.ux, &e.uy, &e.uz, &e.fr, &e.dfr, &e.fa, &e.dfa})
            s.add(*array, shell);
        scratch.shell_size = shell;
        const auto rhs = static_cast<std::size_t>(n_rhs);
        s.add(scratch.turns, rhs * 4 * shell);
        s.add(e.atom, shell);
        for (int** array : {&e.begin, &e.end, &e.n_all, &e.n_angular}) s.add(*array, n_species);
        s.add(scratch.slope, shell * static_cast<std::size_t>(p.n_r));
        Triples<T>& t = scratch.triples;
        t.room = triples;
        for (T** array : {&t.cosine, &t.mean, &t.weight, &t.e0, &t.ec, &t.er, &t.cosine_rate, &t.mean_rate,
                          &t.weight_rate})
            s.add(*array, triples);
        for (T** array : {&t.p, &t.dp, &t.p_rate, &t.p_along}) s.add(*array, n_z * triples);
        for (T** array : {&t.q, &t.dq}) s.add(*array, n_a * triples);
        s.add(t.sums, std::max<std::size_t>(rhs, 1) * n_a * n_z * widest_vector);
        data_.reset(static_cast<char*>(std::aligned_alloc(64, s.size)));
        if (!data_) throw std::bad_alloc();
        // arithmetic on what was never written must stay finite
        std::fill_n(data_.get(), s.size, char{0});
        for (const auto& [place, offset] : s.places) {
            char* const piece = data_.get() + offset;
            std::memcpy(place, &piece, sizeof piece);
        }
    }
    AevScratch<T> scratch;

  private:
    struct Pieces {
        std::vector<std::pair<void*, std::size_t>> places;
        std::size_t size = 0;
        template <typename U> void add(U*& pointer, std::size_t count) {
            places.emplace_back(static_cast<void*>(&pointer), size);
            size += (count * sizeof(U) + 63) / 64 * 64;
        }
    };
    struct Free { void operator()(char* p) const { std::free(p); } };
    std::unique_ptr<char, Free> data_;
};

} // namespace athanor
