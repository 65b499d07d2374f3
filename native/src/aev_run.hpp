// Memory that grows when a kernel finds more neighbours than there is room for.
#pragma once

#include "aev_scratch.hpp"

#include <string>

namespace athanor {

template <typename T> class AevRoom {
  public:
    AevRoom(const AevProgram& program, int n_rhs) : program_(program), n_rhs_(n_rhs) { make(usual); }

    // kernel(scratch) until it has the room it needs; throws StructureFault for coincident atoms.
    template <typename Kernel> void run(Kernel kernel) {
        while (const std::size_t needed = kernel(memory_->scratch)) make(needed + 32);
        const int* fault = memory_->scratch.fault;
        if (fault[0] >= 0)
            throw StructureFault("atoms " + std::to_string(fault[0]) + " and " + std::to_string(fault[1]) +
                                 " coincide (closer than 0.001 Å)");
    }

  private:
    static constexpr std::size_t usual = 192; // neighbours
    void make(std::size_t room) { memory_ = std::make_unique<AevMemory<T>>(program_, room, n_rhs_); }
    const AevProgram& program_;
    int n_rhs_;
    std::unique_ptr<AevMemory<T>> memory_;
};

} // namespace athanor
