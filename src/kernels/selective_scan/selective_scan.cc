#include "kernels/selective_scan/selective_scan.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/selective_scan/selective_scan_args.h"
#include "kernels/thread_scratch.h"

namespace aquatint::kernels {
namespace {

// Values of state times tokens that a thread should have before another one is worth waking.
constexpr std::int64_t kWorkPerThread = 16 * 1024;

const scan::Variant& variant_for(Isa wanted) {
  const Isa isa = std::min(wanted, detected_isa());
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512) return scan::kAvx512;
  if (isa >= Isa::kAvx2) return scan::kAvx2;
#endif
  static_cast<void>(isa);
  return scan::kReference;
}

void check(const ScanInputs& in, const ScanSequence* sequences, std::int64_t count) {
  if (in.channels < 1 || in.states < 1 || count < 0) {
    raise(ErrorKind::kInvalidArgument, "selective scan: {} channels, {} states, {} sequences",
          in.channels, in.states, count);
  }
  if (in.ldx < in.channels || in.ldbc < in.states || (in.z != nullptr && in.ldz < in.channels)) {
    raise(ErrorKind::kInvalidArgument,
          "selective scan: rows of x, B and z are {}, {} and {} apart for {} channels, {} states",
          in.ldx, in.ldbc, in.ldz, in.channels, in.states);
  }
  for (std::int64_t s = 0; s < count; ++s) {
    const ScanSequence& sequence = sequences[s];
    if (sequence.tokens < 0 || sequence.first_row < 0 || sequence.state == nullptr) {
      raise(ErrorKind::kInvalidArgument,
            "selective scan: sequence {} has first row {}, {} tokens{}", s, sequence.first_row,
            sequence.tokens, sequence.state == nullptr ? " and no state" : "");
    }
  }
}

}  // namespace

void selective_scan(const ScanInputs& inputs, const ScanSequence* sequences, std::int64_t count,
                    float* y, Isa isa) {
  check(inputs, sequences, count);
  const scan::Variant& variant = variant_for(isa);
  std::vector<scan::Sequence> plain;
  std::int64_t tokens = 0;
  for (std::int64_t s = 0; s < count; ++s) {
    plain.push_back({sequences[s].first_row, sequences[s].tokens, sequences[s].state});
    tokens += sequences[s].tokens;
  }
  const scan::Args args{inputs.channels, inputs.states, inputs.x,    inputs.ldx,   inputs.dt,
                        inputs.b,        inputs.c,      inputs.ldbc, inputs.z,     inputs.ldz,
                        inputs.rates,    inputs.skip,   y,           plain.data(), count};
  // Each part takes all sequences, so that parts are equal however unequal those are.
  const std::int64_t blocks = (inputs.channels + scan::kChannelBlock - 1) / scan::kChannelBlock;
  const std::int64_t work = std::max<std::int64_t>(1, scan::kChannelBlock * inputs.states * tokens);
  const std::int64_t grain = std::max<std::int64_t>(1, kWorkPerThread / work);
  parallel_for(blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    variant.run(args, begin * scan::kChannelBlock,
                std::min(end * scan::kChannelBlock, inputs.channels),
                thread_scratch(variant.scratch_bytes(inputs.states)));
  });
}

std::vector<Isa> selective_scan_isas() {
  return available_isas(Isa::kAvx512);
}

}  // namespace aquatint::kernels
