#include "base/cpu_features.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/error.h"

namespace aquatint {
namespace {

constexpr std::array kAllIsas = {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni,
                                 Isa::kAvx512Bf16};

Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!avx2) return Isa::kReference;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (!avx512) return Isa::kAvx2;
  if (!__builtin_cpu_supports("avx512vnni")) return Isa::kAvx512;
  return __builtin_cpu_supports("avx512bf16") ? Isa::kAvx512Bf16 : Isa::kAvx512Vnni;
#else
  return Isa::kReference;
#endif
}

Isa choose() {
  const char* forced = std::getenv("AQUATINT_ISA");
  if (forced == nullptr || *forced == '\0') return detected_isa();
  for (const Isa isa : kAllIsas) {
    if (std::string(isa_name(isa)) != forced) continue;
    if (isa > detected_isa()) {
      raise(ErrorKind::kInvalidArgument, "AQUATINT_ISA={}: this processor has only {}", forced,
            isa_name(detected_isa()));
    }
    return isa;
  }
  raise(ErrorKind::kInvalidArgument,
        "AQUATINT_ISA={}: expected reference, avx2, avx512, avx512vnni or avx512bf16", forced);
}

std::string read_cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const auto colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return "reference";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kAvx512Bf16:
      return "avx512bf16";
  }
  return "unknown";
}

Isa detected_isa() {
  static const Isa isa = detect();
  return isa;
}

Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

std::vector<Isa> available_isas(Isa highest) {
  std::vector<Isa> isas;
  for (const Isa isa : kAllIsas) {
    if (isa <= std::min(highest, detected_isa())) isas.push_back(isa);
  }
  return isas;
}

const char* cpu_name() {
  static const std::string name = read_cpu_name();
  return name.c_str();
}

}  // namespace aquatint
