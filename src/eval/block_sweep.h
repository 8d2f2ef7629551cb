// Runs many variants of one model, each with other tensors quantized, over a text, and compares
// every prediction with that of the float model. Block by block: all variants pass a block before
// the next is loaded, so that neither the float model nor any variant is ever in memory as a whole.
//
// In memory at a time are one block as it is and one of a variant, the rounded matrices of that
// block, and the hidden values [tokens, hidden size] of each variant, for as many windows of the
// text as fit a budget (one at least). A variant shares the hidden values of another, or of the
// float model, up to the first block where they differ, and takes no time before it. At the end the
// float model's logits of a few rows are made once and compared with those of all variants: they
// are neither kept nor made again.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "eval/log_softmax.h"
#include "eval/text_plan.h"
#include "layers/linear.h"
#include "quantize/rounded_source.h"

namespace aquatint {

struct SweepVariant {
  std::string name;                     // for progress and messages
  std::set<const TensorPlan*> rounded;  // of the plan, with a scheme
  // Place in the list, behind this one, of the variant whose hidden values it begins with; none:
  // the float model's.
  std::optional<std::size_t> like;
};

struct SweepOptions {
  Execution execution = Execution::kInteger;          // of the quantized tensors
  std::int64_t hidden_bytes = std::int64_t{1} << 30;  // the budget
};

// Comparisons [variants][scored tokens in the order of the plan]. Tensors that are not quantized
// are multiplied in float32, in the float model and in all variants. Runs on the CPU; results
// depend neither on the number of threads nor on the budget. Shows progress. Error kOutOfMemory
// when one window's hidden values do not fit in memory; kNumeric, naming the variant, for NaN or
// infinite logits.
std::vector<std::vector<RowDivergence>> sweep_variants(RoundedTensors& rounded,
                                                       const std::vector<SweepVariant>& variants,
                                                       const TextPlan& text,
                                                       const SweepOptions& options);

}  // namespace aquatint
