// Speed of a model: prefill and decode rates as medians over runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model.h"

namespace aquatint {

struct BenchOptions {
  std::int64_t prompt_tokens = 512, generated_tokens = 64, batch = 1;
  int repeats = 5;
};

struct Rate {
  double median = 0, min = 0, max = 0;  // tokens per second, all sequences together
};

struct BenchResult {
  Rate prefill, decode;
  std::int64_t weight_bytes = 0, state_bytes = 0;  // state: of all sequences
  // Multiply-accumulates of matrix products per token, the head included.
  std::int64_t macs_per_token = 0;
  // Bytes a decode step must read at least: all weights but the embedding table, and the states.
  std::int64_t decode_bytes = 0;
};

// Runs random tokens through the model (fixed seed). After the prompt and after each step the
// likeliest token of each sequence is chosen, as in greedy generation.
BenchResult run_bench(Model& model, const BenchOptions& options);

}  // namespace aquatint
