// Which instruction sets this processor runs and which one kernels are dispatched to. Chosen once
// from cpuid; the environment variable AQUATINT_ISA (reference, avx2, avx512, avx512vnni,
// avx512bf16) forces a lower one, which tests and benchmarks use to compare variants.
#pragma once

#include <vector>

namespace aquatint {

// Ordered: each level runs everything below it.
enum class Isa { kReference, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16 };

const char* isa_name(Isa isa);
// The highest level of this processor, whatever the environment says.
Isa detected_isa();
// The level kernels are dispatched to. Error kInvalidArgument for an unknown or unavailable
// AQUATINT_ISA.
Isa active_isa();
// Every level of this processor up to `highest`, for tests that run all variants.
std::vector<Isa> available_isas(Isa highest);
// Processor name as the system reports it, e.g. for benchmark records.
const char* cpu_name();

}  // namespace aquatint
