// Speed measurements as JSON and as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "runtime/bench.h"
#include "runtime/ceilings.h"

namespace aquatint {

// How a model was measured, for the record.
struct BenchSetting {
  std::string model, dtype;
  BenchOptions options;
  std::int64_t peak_memory_bytes = 0;
  Device device;
  std::int64_t peak_device_bytes = 0;  // of a GPU's memory
};

// The processor and how it is used, for the first line of a record.
std::string processor_text(Device device);

nlohmann::json bench_json(const BenchSetting& setting, const BenchResult& result,
                          const std::optional<Ceilings>& ceilings);
std::string bench_text(const BenchSetting& setting, const BenchResult& result,
                       const std::optional<Ceilings>& ceilings);

}  // namespace aquatint
