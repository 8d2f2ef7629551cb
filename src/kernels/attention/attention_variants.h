// The implementations of attention.h by instruction set, for dispatch and for tests that compare
// them.
#pragma once

#include <vector>

#include "base/cpu_features.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_task.h"

namespace aquatint::kernels {

struct AttentionVariant {
  Isa isa;
  const AttentionKernel* kernel;
};

// Slowest first; the first one is the reference. Those above detected_isa() must not be run.
const std::vector<AttentionVariant>& attention_variants();

// The kernel for products of bfloat16 pairs; null on processors without them.
const AttentionKernel* attention_bf16_kernel();

// attention() with a chosen kernel.
void attention_with(const AttentionKernel& kernel, const AttentionShape& shape,
                    const AttentionSequence* sequences, std::int64_t count, const float* q,
                    float* o);

// attention() with a chosen variant.
void attention_with(const AttentionVariant& variant, const AttentionShape& shape,
                    const AttentionSequence* sequences, std::int64_t count, const float* q,
                    float* o);

}  // namespace aquatint::kernels
