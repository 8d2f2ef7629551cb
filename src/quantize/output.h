// The small files of a quantized model folder: config.json and what is copied from the original.
#pragma once

#include <filesystem>
#include <string>

#include "quantize/plan.h"

namespace aquatint {

// config.json of the quantized model: the original's with quantization_config, the aquatint
// section, and the head untied where the plan unties it.
std::string quantized_config(const Checkpoint& checkpoint, const Recipe& recipe, const Plan& plan,
                             const std::string& fingerprint);

// Copies tokenizer and generation files of a model's folder; a tokenizer that is in the file of the
// weights is written out. Error kIo.
void copy_model_files(const Checkpoint& checkpoint, const std::filesystem::path& to);

}  // namespace aquatint
