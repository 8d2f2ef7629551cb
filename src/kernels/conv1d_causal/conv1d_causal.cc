#include "kernels/conv1d_causal/conv1d_causal.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "kernels/conv1d_causal/conv1d_causal_variants.h"
#include "kernels/conv1d_causal/cuda_args.h"

namespace aquatint::kernels {
namespace {

// Tokens of one sequence are cut here too, so that one long prompt occupies every thread.
constexpr std::int64_t kTokensPerTile = 64;
// Values a thread should have before another one is worth waking.
constexpr std::int64_t kValuesPerPart = 8192;

void check(const float* x, std::int64_t ldx, std::int64_t channels, std::int64_t kernel,
           const float* w, const ConvSequence* sequences, std::int64_t count, const float* y) {
  if (kernel < 1 || kernel > kMaxConvTaps) {
    raise(ErrorKind::kUnsupported, "causal convolution: kernel of {} taps (1 to {} are supported)",
          kernel, kMaxConvTaps);
  }
  if (channels < 1 || ldx < channels || count < 0 || w == nullptr ||
      (count > 0 && sequences == nullptr)) {
    raise(ErrorKind::kInvalidArgument,
          "causal convolution: {} channels in rows of {}, {} sequences, {} taps array", channels,
          ldx, count, w == nullptr ? "no" : "a");
  }
  for (std::int64_t s = 0; s < count; ++s) {
    const ConvSequence& sequence = sequences[s];
    if (sequence.tokens < 0 || sequence.first_row < 0) {
      raise(ErrorKind::kInvalidArgument,
            "causal convolution: sequence {} has {} tokens from row {}", s, sequence.tokens,
            sequence.first_row);
    }
    if (sequence.tokens == 0) continue;
    if (x == nullptr || y == nullptr || (kernel > 1 && sequence.window == nullptr)) {
      raise(ErrorKind::kInvalidArgument, "causal convolution: sequence {} lacks {}", s,
            x == nullptr ? "inputs" : (y == nullptr ? "outputs" : "a window"));
    }
  }
}

// The window's rows follow the inputs that came in, for channels [begin, end).
void update_window(const ConvSequence& sequence, const float* x, std::int64_t ldx,
                   std::int64_t channels, std::int64_t kept, std::int64_t begin, std::int64_t end) {
  const std::int64_t fresh = std::min(sequence.tokens, kept);
  const std::int64_t stay = kept - fresh;
  for (std::int64_t i = 0; i < stay && fresh > 0; ++i) {
    const float* from = sequence.window + (i + fresh) * channels;
    std::copy(from + begin, from + end, sequence.window + i * channels + begin);
  }
  const float* last = x + (sequence.first_row + sequence.tokens - fresh) * ldx;
  for (std::int64_t i = 0; i < fresh; ++i) {
    std::copy(last + i * ldx + begin, last + i * ldx + end,
              sequence.window + (stay + i) * channels + begin);
  }
}

}  // namespace

const std::vector<ConvVariant>& conv1d_causal_variants() {
  static const std::vector<ConvVariant> variants = {
    {Isa::kReference, conv1d_causal_reference},
#if defined(__x86_64__)
    {Isa::kAvx2, conv1d_causal_avx2},
    {Isa::kAvx512, conv1d_causal_avx512},
#endif
  };
  return variants;
}

void conv1d_causal_with(const ConvVariant& variant, const float* x, std::int64_t ldx,
                        std::int64_t channels, std::int64_t kernel, const float* w,
                        const float* bias, bool silu, const ConvSequence* sequences,
                        std::int64_t count, float* y) {
  check(x, ldx, channels, kernel, w, sequences, count, y);
  // Items are numbered sequence by sequence, then by token cut, then by channel tile.
  const std::int64_t tiles = (channels + kConvTile - 1) / kConvTile;
  std::vector<std::int64_t> first_item(static_cast<std::size_t>(count) + 1, 0);
  std::int64_t longest = 0;
  for (std::int64_t s = 0; s < count; ++s) {
    const auto i = static_cast<std::size_t>(s);
    const std::int64_t cuts = (sequences[s].tokens + kTokensPerTile - 1) / kTokensPerTile;
    first_item[i + 1] = first_item[i] + cuts * tiles;
    longest = std::max(longest, sequences[s].tokens);
  }
  const std::int64_t values = std::min(longest, kTokensPerTile) * std::min(channels, kConvTile);
  const std::int64_t grain =
      std::max<std::int64_t>(1, kValuesPerPart / std::max<std::int64_t>(values, 1));
  parallel_for(first_item.back(), grain, [&](std::int64_t begin, std::int64_t end) {
    auto s = static_cast<std::size_t>(
        std::upper_bound(first_item.begin(), first_item.end(), begin) - first_item.begin() - 1);
    for (std::int64_t item = begin; item < end; ++item) {
      while (item >= first_item[s + 1]) ++s;
      const ConvSequence& sequence = sequences[s];
      const std::int64_t cut = (item - first_item[s]) / tiles;
      const std::int64_t tile = (item - first_item[s]) % tiles;
      const std::int64_t row = sequence.first_row;
      variant.run({x + row * ldx, sequence.window, w, bias, y + row * channels, ldx, channels,
                   kernel, silu},
                  {cut * kTokensPerTile, std::min(sequence.tokens, (cut + 1) * kTokensPerTile),
                   tile * kConvTile, std::min(channels, (tile + 1) * kConvTile)});
    }
  });
  // Only now: the first cut of a sequence reads the window that its last inputs replace.
  const std::int64_t kept = kernel - 1;
  const std::int64_t per_tile = std::max<std::int64_t>(1, kept * std::min(channels, kConvTile));
  parallel_for(kept > 0 ? count * tiles : 0,
               std::max<std::int64_t>(1, 4 * kValuesPerPart / per_tile),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t item = begin; item < end; ++item) {
                   const std::int64_t channel = item % tiles * kConvTile;
                   update_window(sequences[item / tiles], x, ldx, channels, kept, channel,
                                 std::min(channels, channel + kConvTile));
                 }
               });
}

void conv1d_causal(const float* x, std::int64_t ldx, std::int64_t channels, std::int64_t kernel,
                   const float* w, const float* bias, bool silu, const ConvSequence* sequences,
                   std::int64_t count, float* y) {
  static const ConvVariant active = [] {
    ConvVariant best = conv1d_causal_variants().front();
    for (const auto& variant : conv1d_causal_variants()) {
      if (variant.isa <= active_isa()) best = variant;
    }
    return best;
  }();
  conv1d_causal_with(active, x, ldx, channels, kernel, w, bias, silu, sequences, count, y);
}

void conv1d_causal(Stream& stream, const float* x, std::int64_t ldx, std::int64_t channels,
                   std::int64_t kernel, const float* w, const float* bias, bool silu,
                   const ConvSequence* sequences, std::int64_t count, float* y) {
  if (!stream.is_cuda()) {
    return conv1d_causal(x, ldx, channels, kernel, w, bias, silu, sequences, count, y);
  }
  static const CudaKernel<ConvCudaArgs> run("aquatint_cuda_conv1d_causal");
  check(x, ldx, channels, kernel, w, sequences, count, y);
  ConvCudaArgs args{x, w, bias, y, ldx, channels, kernel, silu, 0, {}};
  for (std::int64_t s = 0; s < count; ++s) {
    const ConvSequence& sequence = sequences[s];
    args.sequences[args.count++] = {sequence.first_row, sequence.tokens, sequence.window};
    if (args.count == ConvCudaArgs::kMostSequences || s + 1 == count) {
      run(stream, args);
      args.count = 0;
    }
  }
}

}  // namespace aquatint::kernels
