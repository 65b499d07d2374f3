// Instruction sets that kernels are compiled for.
#pragma once

namespace athanor {

enum class Isa { automatic, plain, avx2, avx512 };

bool supported(Isa isa);
Isa widest();

// The one to run; throws std::invalid_argument where this processor lacks it.
Isa chosen(Isa isa);

} // namespace athanor
