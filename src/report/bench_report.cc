#include "report/bench_report.h"

#include <nlohmann/json.hpp>

#include "base/cpu_features.h"
#include "base/memory.h"
#include "base/threads.h"

namespace aquatint {

using nlohmann::json;

namespace {

double prefill_ops(const BenchResult& result) {
  return 2.0 * static_cast<double>(result.macs_per_token) * result.prefill.median;
}

// Steps per second times the bytes each must read.
double decode_bandwidth(const BenchSetting& setting, const BenchResult& result) {
  return static_cast<double>(result.decode_bytes) * result.decode.median /
         static_cast<double>(setting.options.batch);
}

std::string peak_text(const BenchSetting& setting) {
  const std::string host = format_bytes(setting.peak_memory_bytes);
  if (!setting.device.is_cuda()) return host;
  return fmt::format("{} of the GPU's, {} of the host's", format_bytes(setting.peak_device_bytes),
                     host);
}

// What the ceiling of memory is measured by.
const char* bandwidth_name(const BenchSetting& setting) {
  return setting.device.is_cuda() ? "copy" : "read";
}

json rate_json(const Rate& rate) {
  return {{"median", rate.median}, {"min", rate.min}, {"max", rate.max}};
}

}  // namespace

std::string processor_text(Device device) {
  if (device.is_cuda()) return device_description(device);
  return fmt::format("{} threads of {}, {}", num_threads(), cpu_name(), isa_name(active_isa()));
}

json bench_json(const BenchSetting& setting, const BenchResult& result,
                const std::optional<Ceilings>& ceilings) {
  json out = {{"model", setting.model},
              {"dtype", setting.dtype},
              {"device", setting.device.str()},
              {"processor", device_description(setting.device)},
              {"isa", isa_name(active_isa())},
              {"threads", num_threads()},
              {"prompt_tokens", setting.options.prompt_tokens},
              {"generated_tokens", setting.options.generated_tokens},
              {"batch", setting.options.batch},
              {"repeats", setting.options.repeats},
              {"prefill_tokens_per_second", rate_json(result.prefill)},
              {"decode_tokens_per_second", rate_json(result.decode)},
              {"weight_bytes", result.weight_bytes},
              {"state_bytes", result.state_bytes},
              {"peak_memory_bytes", setting.peak_memory_bytes},
              {"peak_device_bytes", setting.peak_device_bytes},
              {"prefill_ops_per_second", prefill_ops(result)},
              {"decode_bytes_per_second", decode_bandwidth(setting, result)}};
  if (!ceilings) return out;
  out["ceilings"] = {{"read_bytes_per_second", ceilings->read_bytes_per_second},
                     {"f32_flops", ceilings->f32_flops},
                     {"bf16_flops", ceilings->bf16_flops},
                     {"int8_ops", ceilings->int8_ops}};
  return out;
}

std::string bench_text(const BenchSetting& setting, const BenchResult& result,
                       const std::optional<Ceilings>& ceilings) {
  const BenchOptions& o = setting.options;
  std::string text = fmt::format("{}: {}, medians of {} runs\n", setting.model,
                                 processor_text(setting.device), o.repeats);
  text += fmt::format("  prefill  {} x {} tokens: {:.1f} tokens/s ({:.1f} - {:.1f}), {:.0f} GOP/s",
                      o.batch, o.prompt_tokens, result.prefill.median, result.prefill.min,
                      result.prefill.max, prefill_ops(result) / 1e9);
  if (ceilings) {
    const double ops = prefill_ops(result);
    text += fmt::format(": {:.0f} % of float32, {:.0f} % of bfloat16, {:.0f} % of int8 products",
                        100 * ops / ceilings->f32_flops,
                        ceilings->bf16_flops > 0 ? 100 * ops / ceilings->bf16_flops : 0,
                        100 * ops / ceilings->int8_ops);
  }
  const double bandwidth = decode_bandwidth(setting, result);
  text += fmt::format("\n  decode   {} x {} tokens: {:.1f} tokens/s ({:.1f} - {:.1f}), {:.1f} GB/s",
                      o.batch, o.generated_tokens, result.decode.median, result.decode.min,
                      result.decode.max, bandwidth / 1e9);
  if (ceilings) {
    text += fmt::format(": {:.0f} % of {} bandwidth",
                        100 * bandwidth / ceilings->read_bytes_per_second, bandwidth_name(setting));
  }
  text += fmt::format("\n  memory   {} of weights, {} of state, peak {}\n",
                      format_bytes(result.weight_bytes), format_bytes(result.state_bytes),
                      peak_text(setting));
  if (ceilings) {
    text += fmt::format(
        "  ceilings {} {:.1f} GB/s; products float32 {:.0f}, bfloat16 {:.0f}, int8 {:.0f} "
        "GOP/s\n",
        bandwidth_name(setting), ceilings->read_bytes_per_second / 1e9, ceilings->f32_flops / 1e9,
        ceilings->bf16_flops / 1e9, ceilings->int8_ops / 1e9);
  }
  return text;
}

}  // namespace aquatint
