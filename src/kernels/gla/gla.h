// Gated linear attention: the recurrence S = diag(exp g) S + k v^T, o = scale * q^T S of every GLA
// layer, as a token-by-token form for decoding and a chunked form, made of matrix products, for
// prefill. It is one kernel because the state must stay in cache, and the decays exact, between
// those products; no library has it. docs/kernels/gla.md has the derivation, the costs and the
// measurements.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/cpu_features.h"
#include "device/stream.h"
#include "kernels/product_view.h"

namespace aquatint::kernels {

// Query head h uses kv head h / (heads / kv_heads). The state depends on k, v and g only, so there
// is one per kv head.
struct GlaShape {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t dk = 0;
  std::int64_t dv = 0;
  float scale = 1.0F;  // usually dk^-1/2
};

// One independent sequence: its rows in q, k, v, g, o and its state, [kv_heads, dk, dv] row-major,
// which is updated in place. Sequences of one call must not share rows or states.
struct GlaSequence {
  std::int64_t first_row = 0;
  std::int64_t tokens = 0;
  float* state = nullptr;
};

// Runs every sequence with the form that is faster for its length. q [rows, heads*dk], k and g
// [rows, kv_heads*dk], v [rows, kv_heads*dv], o [rows, heads*dv], all row-major; g holds log decays
// <= 0, -inf included. Threaded; results do not depend on the number of threads. Error
// kInvalidArgument for sizes that are not positive, kv_heads not dividing heads, or a negative row
// or token count. (specs: S is updated before it is read.)
void gla_forward(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count,
                 const float* q, const float* k, const float* v, const float* g, float* o);

// The same function, always token by token, on the best variant not above `isa`.
void gla_recurrent(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count,
                   const float* q, const float* k, const float* v, const float* g, float* o,
                   Isa isa = active_isa());

// The same function, always in chunks, on the best variant not above `isa`.
void gla_chunked(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count,
                 const float* q, const float* k, const float* v, const float* g, float* o,
                 Isa isa = active_isa());

// In place: r = logsigmoid(r) / normalizer, then at least clamp_min if `clamp`. The exact form
// min(r,0) - log1p(exp(-|r|)), relative error below 1e-6 wherever the result is a normal float32.
void gla_log_decay(float* r, std::int64_t n, float normalizer, bool clamp, float clamp_min,
                   Isa isa = active_isa());

// What the products of a GPU's prefill are made of. kFloat32 always runs token by token.
enum class GlaArithmetic { kFloat32, kBFloat16 };

// The same functions where the stream runs; on a GPU all pointers, states included, are the
// device's, and everything is queued in the stream. kBFloat16 takes the chunked form, on the tensor
// cores, for sequences from kGlaChunkedFrom tokens on and dk up to 256; its state and its sums are
// float32, its operands are rounded to bfloat16. It takes scratch of the device, so it cannot be
// captured in a graph that outlives the call; the token-by-token form takes none. On the CPU
// `arithmetic` means nothing.
void gla_forward(Stream& stream, GlaArithmetic arithmetic, const GlaShape& shape,
                 const GlaSequence* sequences, std::int64_t count, const float* q, const float* k,
                 const float* v, const float* g, float* o);
void gla_recurrent(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
                   std::int64_t count, const float* q, const float* k, const float* v,
                   const float* g, float* o);
// Always in chunks, in kBFloat16 on a GPU. Error kInvalidArgument there for dk above 256.
void gla_chunked(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
                 std::int64_t count, const float* q, const float* k, const float* v, const float* g,
                 float* o);
// The second half of a layer's gate on a GPU: the log decays of w low + bias (gla_log_decay).
struct GlaGate {
  static constexpr std::int64_t kRank = 16;
  const std::uint16_t* w = nullptr;  // bfloat16 [kv_heads*dk, kRank], aligned to 16 bytes
  const float* bias = nullptr;       // [kv_heads*dk] or null
  const float* low = nullptr;        // [rows, kRank], aligned to 16 bytes; rounded to bfloat16
  float normalizer = 1.0F;
  std::optional<float> clamp_min;
};
// One token of each sequence, whose decays are made on the way. REQUIRES: a GPU.
void gla_step(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
              std::int64_t count, const float* q, const float* k, const float* v,
              const GlaGate& gate, float* o);
void gla_log_decay(Stream& stream, float* r, std::int64_t n, float normalizer, bool clamp,
                   float clamp_min);
inline constexpr std::int64_t kGlaChunkedFrom = 64;

// What the chunked form of a GPU reads as products of matrices leave it, which saves passes: values
// in float32 or bfloat16 (to which it rounds them anyway), and the gates r [rows, kv_heads*dk]
// whose log decays gla_log_decay would give.
struct GlaProducts {
  ProductView q, k, v;  // no sums; ld as many columns as there are
  const float* r = nullptr;
  float normalizer = 1.0F;
  bool clamp = false;
  float clamp_min = 0.0F;
};
// Whether all sequences take the chunked form, with rows of v that it can read in bfloat16.
bool gla_takes_products(Stream& stream, GlaArithmetic arithmetic, const GlaShape& shape,
                        const GlaSequence* sequences, std::int64_t count);
// The function of gla_forward. REQUIRES: gla_takes_products.
void gla_forward(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
                 std::int64_t count, const GlaProducts& products, float* o);

// The instruction sets that have a variant of their own here and run on this machine, lowest first.
std::vector<Isa> gla_isas();

}  // namespace aquatint::kernels
