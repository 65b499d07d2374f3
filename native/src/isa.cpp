#include "athanor/isa.hpp"

#include <stdexcept>

namespace athanor {

bool supported(Isa isa) {
    switch (isa) {
    case Isa::automatic:
    case Isa::plain: return true;
#ifdef ATHANOR_X86
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
#endif
    default: return false;
    }
}

Isa widest() {
    if (supported(Isa::avx512)) return Isa::avx512;
    return supported(Isa::avx2) ? Isa::avx2 : Isa::plain;
}

Isa chosen(Isa isa) {
    if (isa == Isa::automatic) return widest();
    if (!supported(isa)) throw std::invalid_argument("this processor lacks the instruction set asked for");
    return isa;
}

} // namespace athanor
