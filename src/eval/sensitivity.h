// Which parts of a model a recipe hurts most: each unit (a role, a block, a tensor) is quantized
// alone, and the divergence that it causes is set against the bytes that it saves.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/block_sweep.h"
#include "eval/divergence.h"
#include "eval/sensitivity_units.h"

namespace aquatint {

struct SensitivityOptions {
  SensitivityBy by = SensitivityBy::kRole;
  bool leave_out = false;  // also everything but each unit
  PerplexityOptions text;
  SweepOptions sweep;
};

struct UnitSensitivity {
  SensitivityUnit unit;
  DivergenceResult alone;                    // of the model with only this unit quantized
  std::optional<DivergenceResult> left_out;  // with all but this unit quantized
  double share = 0;                          // of the sum of all units' divergences

  // Nats per token; the most possible for a unit that saves nothing.
  double divergence_per_mib() const;
};

struct SensitivityResult {
  std::vector<UnitSensitivity> units;              // costliest first: by divergence per MiB saved
  DivergenceResult all;                            // of everything quantized
  std::int64_t bytes_before = 0, bytes_after = 0;  // of the model's tensors, with everything

  double sum_of_divergences() const;  // of the units, each alone
  // Places in `units` of those worth keeping as they are: see choose_units_to_keep.
  std::vector<std::size_t> keep;
};

// Divergences from the model of the checkpoint, whose tensors that are not quantized are multiplied
// in float32. What is rounded are `weights`: the checkpoint, or what a transform made of it. Errors
// of plan_text and sweep_variants.
SensitivityResult measure_sensitivity(const Checkpoint& checkpoint, const WeightSource& weights,
                                      const Plan& plan, const Tokenizer& tokenizer,
                                      const TextData& data, const SensitivityOptions& options);

// The change of perplexity, as a share of the reference's.
double perplexity_change(const DivergenceResult& result);

// Of units in order of cost, those that a recipe should leave alone: a unit's share of the
// divergence is at least twice that of the bytes saved, at least 5 % (or, of many units, half of
// what it were if all were equal), and beyond two standard errors; together they give up at most a
// third of the bytes.
std::vector<std::size_t> choose_units_to_keep(const std::vector<UnitSensitivity>& units);

}  // namespace aquatint
