// Lets sequences pass a model part by part, all of them through one block before the next is
// loaded. Taps see what Model::run would show them, but the rows of one sequence at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/architecture.h"
#include "quantize/hidden_values.h"
#include "text/tokenizer.h"

namespace aquatint {

// How a model runs over calibration data.
struct CalibrationOptions {
  std::int64_t hidden_bytes = std::int64_t{4} << 30;  // of hidden values in memory; more: in a file
  std::filesystem::path spill_folder;                 // where that file is (HiddenValues)
  std::int64_t batch_tokens = 4096;  // rows that pass a block together, whole sequences
  // Arithmetic of the products, whatever the weights are stored as.
  kernels::DenseType compute = kernels::DenseType::kF32;
};

class BlockRunner {
 public:
  // The sequences, none empty, must outlive this object. Error kInvalidArgument for a token outside
  // the vocabulary or a sequence beyond the model's positions; those of HiddenValues.
  BlockRunner(const Architecture& architecture, const std::vector<std::vector<TokenId>>& sequences,
              const CalibrationOptions& options);

  // To be called in the order of the model, once each. Error kNumeric, naming the hidden values
  // after it, when a part makes NaN or infinity.
  void run_input(const InputLayer& input, TapSink& taps);
  void run_block(std::int64_t index, const Block& block, TapSink& taps);
  // Loads the output layer only if the taps want something of it, and of its head the weights only
  // if they want its logits.
  void run_output(const WeightSource& source, const LoadOptions& load, TapSink& taps);

 private:
  // Whole sequences that run together.
  struct Step {
    std::int64_t first_row = 0, rows = 0;
    std::vector<TokenId> tokens;
    std::vector<Segment> segments;  // without states
  };
  void make_steps(const std::vector<std::vector<TokenId>>& sequences, std::int64_t batch_tokens);
  void run_output_step(const Step& step, const OutputLayer& output, bool all_logits, TapSink& taps);

  const Architecture& architecture_;
  std::vector<Step> steps_;
  HiddenValues hidden_;
  Workspace workspace_;
};

}  // namespace aquatint
