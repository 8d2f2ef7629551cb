// Internal to kernels/gla: what the CUDA kernels receive. Plain data, because both the dispatch
// and the CUDA sources include it. Lists of sequences travel by value, in the kernel's parameters,
// so that nothing is copied and a captured launch stays valid.
#pragma once

#include <cstdint>

namespace aquatint::kernels {

inline constexpr int kGlaCudaSequences = 64;  // of one launch
// The chunked form: tokens of a chunk, and the widest dk it takes. Scratch holds dk padded to one
// of 64, 128, 256.
inline constexpr int kGlaChunk = 64;
inline constexpr int kGlaChunkedDk = 256;
inline constexpr int kGlaGateRank = 16;

// A sequence, or a piece of one that continues its state.
struct GlaCudaSequence {
  float* state = nullptr;  // [kv_heads, dk, dv]
  std::int64_t first_row = 0;
  std::int64_t tokens = 0;       // above 0
  std::int64_t first_chunk = 0;  // chunked form: where the piece's chunks lie in scratch
};

// The second half of a gate, of which a step makes its log decays itself: r = w low + bias, then
// the log decay of r.
struct GlaCudaGate {
  const std::uint16_t* w = nullptr;  // bfloat16 [kv_heads * dk, kGlaGateRank]; null: no gate
  const float* bias = nullptr;       // [kv_heads * dk] or null
  const float* low = nullptr;        // [rows, kGlaGateRank], rounded to bfloat16 when it is read
  float normalizer = 1.0F;
  float lowest = 0.0F;  // -inf for no clamp
};

struct GlaCudaArgs {
  int heads = 0;
  int kv_heads = 0;
  int dk = 0;
  int dv = 0;
  float scale = 1.0F;
  int count = 0;             // sequences, no state twice
  const float* q = nullptr;  // [rows, heads * dk]
  const float* k = nullptr;  // [rows, kv_heads * dk]
  const float* v = nullptr;  // [rows, kv_heads * dv]
  const float* g = nullptr;  // [rows, kv_heads * dk]; log decays, or with `gates` what they
                             // are of; unused with a gate
  // Chunked form: instead of q, k, v, bfloat16; rows of v16 start at multiples of 16 bytes.
  const std::uint16_t* q16 = nullptr;
  const std::uint16_t* k16 = nullptr;
  const std::uint16_t* v16 = nullptr;
  bool gates = false;       // chunked form: g = logsigmoid(r) / normalizer, at least lowest
  float normalizer = 1.0F;  // with gates
  float lowest = 0.0F;      // with gates; -inf for no clamp
  float* o = nullptr;       // [rows, heads * dv]
  void* scratch = nullptr;  // chunked form: gla_chunk_bytes() of each chunk
  std::int64_t chunks = 0;  // chunked form: of all sequences
  GlaCudaGate gate;         // one token only
  GlaCudaSequence sequences[kGlaCudaSequences];
};

struct GlaLogDecayCudaArgs {
  float* r = nullptr;
  std::int64_t n = 0;
  float normalizer = 1.0F;
  float lowest = 0.0F;  // -inf for no clamp
};

constexpr std::int64_t gla_padded_dk(std::int64_t dk) {
  return dk <= 64 ? 64 : dk <= 128 ? 128 : 256;
}

// Per query head: scaled queries and scores, both bfloat16; per kv head: scaled keys in bfloat16
// and the chunk's decay in float32.
constexpr std::int64_t gla_chunk_bytes(std::int64_t heads, std::int64_t kv_heads, std::int64_t dk) {
  const std::int64_t padded = gla_padded_dk(dk);
  return heads * 2 * kGlaChunk * (padded + kGlaChunk) +
         kv_heads * (2 * kGlaChunk * padded + 4 * padded);
}

}  // namespace aquatint::kernels
