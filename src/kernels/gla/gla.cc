// Checks, choice of variant and form, and division of the work: sequences x kv heads x slices of dv
// are laid out on one line, weighted by tokens, and each thread takes an equal piece of it. A head
// cut by a boundary repeats the part of the work that all its columns share; no result depends on
// where the cut is.
#include "kernels/gla/gla.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>
#include <memory>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "device/device_memory.h"
#include "kernels/gla/cuda_args.h"
#include "kernels/gla/gla_kernels.h"
#include "kernels/thread_scratch.h"

namespace aquatint::kernels {
namespace {

using gla::Form;
using gla::HeadTask;
using gla::kColumnBlock;
using gla::Variant;

// Multiply-adds below which a second thread costs more than it brings (about 5 us of work).
constexpr std::int64_t kWorkPerThread = 48 * 1024;
constexpr std::int64_t kLogDecayGrain = 16 * 1024;

struct Tensors {
  const float* q;
  const float* k;
  const float* v;
  const float* g;
  float* o;
};

const Variant& variant_for(Isa wanted) {
  const Isa isa = std::min(wanted, detected_isa());
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512) return gla::avx512_variant();
  if (isa >= Isa::kAvx2) return gla::avx2_variant();
#endif
  static_cast<void>(isa);
  return gla::reference_variant();
}

void check(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count) {
  if (shape.heads <= 0 || shape.kv_heads <= 0 || shape.dk <= 0 || shape.dv <= 0 ||
      shape.heads % shape.kv_heads != 0) {
    raise(ErrorKind::kInvalidArgument, "gla: heads {}, kv_heads {}, dk {}, dv {}", shape.heads,
          shape.kv_heads, shape.dk, shape.dv);
  }
  for (std::int64_t s = 0; s < count; ++s) {
    const GlaSequence& sequence = sequences[s];
    if (sequence.tokens < 0 || sequence.first_row < 0 || sequence.state == nullptr) {
      raise(ErrorKind::kInvalidArgument, "gla: sequence {} has first row {}, {} tokens{}", s,
            sequence.first_row, sequence.tokens, sequence.state == nullptr ? " and no state" : "");
    }
  }
}

void check_normalizer(float normalizer) {
  if (!(normalizer > 0.0F)) {
    raise(ErrorKind::kInvalidArgument, "gla: gate normalizer {} is not positive", normalizer);
  }
}

float lowest_decay(bool clamp, float clamp_min) {
  return clamp ? clamp_min : -std::numeric_limits<float>::infinity();
}

HeadTask head_task(const GlaShape& shape, const GlaSequence& sequence, const Tensors& tensors,
                   std::int64_t head, std::int64_t first_column, std::int64_t columns) {
  HeadTask task{};
  const std::int64_t group = shape.heads / shape.kv_heads;
  task.tokens = sequence.tokens;
  task.group = group;
  task.dk = shape.dk;
  task.dv = shape.dv;
  task.columns = columns;
  task.scale = shape.scale;
  task.q_stride = shape.heads * shape.dk;
  task.k_stride = shape.kv_heads * shape.dk;
  task.v_stride = shape.kv_heads * shape.dv;
  task.o_stride = shape.heads * shape.dv;
  task.state_stride = shape.dv;
  const std::int64_t row = sequence.first_row;
  task.q = tensors.q + row * task.q_stride + head * group * shape.dk;
  task.k = tensors.k + row * task.k_stride + head * shape.dk;
  task.g = tensors.g + row * task.k_stride + head * shape.dk;
  task.v = tensors.v + row * task.v_stride + head * shape.dv + first_column;
  task.o = tensors.o + row * task.o_stride + head * group * shape.dv + first_column;
  task.state = sequence.state + head * shape.dk * shape.dv + first_column;
  return task;
}

// Runs the units whose start lies in [begin, end) of the line of work. A unit is kColumnBlock
// columns of one head of one sequence and is as long as the sequence has tokens.
template <typename FormOf>
void run_piece(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count,
               const Tensors& tensors, const FormOf& form_of, std::int64_t begin,
               std::int64_t end) {
  const std::int64_t blocks = (shape.dv + kColumnBlock - 1) / kColumnBlock;
  std::int64_t start = 0;
  for (std::int64_t s = 0; s < count && start < end; ++s) {
    const std::int64_t tokens = sequences[s].tokens;
    if (tokens == 0) continue;
    const Form& form = form_of(tokens);
    for (std::int64_t head = 0; head < shape.kv_heads; ++head, start += blocks * tokens) {
      const auto block_at = [&](std::int64_t position) {
        return std::clamp<std::int64_t>((position - start + tokens - 1) / tokens, 0, blocks);
      };
      const std::int64_t first = begin <= start ? 0 : block_at(begin) * kColumnBlock;
      const std::int64_t last = end <= start ? 0 : std::min(block_at(end) * kColumnBlock, shape.dv);
      if (first >= last) continue;
      const HeadTask task = head_task(shape, sequences[s], tensors, head, first, last - first);
      form.run(task, thread_scratch(form.scratch_bytes(task)));
    }
  }
}

template <typename FormOf>
void run_all(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count,
             const Tensors& tensors, const FormOf& form_of) {
  check(shape, sequences, count);
  const std::int64_t blocks = (shape.dv + kColumnBlock - 1) / kColumnBlock;
  std::int64_t tokens = 0;
  for (std::int64_t s = 0; s < count; ++s) tokens += sequences[s].tokens;
  const std::int64_t line = tokens * shape.kv_heads * blocks;
  const std::int64_t work = tokens * shape.heads * shape.dk * shape.dv;
  const std::int64_t parts =
      std::clamp<std::int64_t>(work / kWorkPerThread, 1, std::max(num_threads(), 1));
  parallel_for(parts, 1, [&](std::int64_t begin, std::int64_t end) {
    run_piece(shape, sequences, count, tensors, form_of, line * begin / parts, line * end / parts);
  });
}

// Collects sequences for launches of one kernel of a GPU, each over at most kGlaCudaSequences of
// them. In the chunked form a launch also takes a limited number of chunks, so that scratch is
// bounded: a long sequence continues in the next launch, from the state that this one leaves.
class CudaQueue {
 public:
  CudaQueue(Stream& stream, const GlaShape& shape, const Tensors& tensors,
            const CudaKernel<GlaCudaArgs>& kernel, std::int64_t chunk_limit,
            const GlaCudaGate& gate = {})
      : stream_(stream), kernel_(kernel), chunk_limit_(chunk_limit) {
    args_.heads = static_cast<int>(shape.heads);
    args_.kv_heads = static_cast<int>(shape.kv_heads);
    args_.dk = static_cast<int>(shape.dk);
    args_.dv = static_cast<int>(shape.dv);
    args_.scale = shape.scale;
    args_.q = tensors.q;
    args_.k = tensors.k;
    args_.v = tensors.v;
    args_.g = tensors.g;
    args_.o = tensors.o;
    args_.gate = gate;
  }

  void add(const GlaSequence& sequence) {
    for (std::int64_t done = 0; done < sequence.tokens;) {
      std::int64_t tokens = sequence.tokens - done;
      if (chunk_limit_ > 0) {
        tokens = std::min(tokens, (chunk_limit_ - args_.chunks) * kGlaChunk);
      }
      args_.sequences[args_.count++] = {sequence.state, sequence.first_row + done, tokens,
                                        args_.chunks};
      args_.chunks += (tokens + kGlaChunk - 1) / kGlaChunk;
      done += tokens;
      if (args_.count == kGlaCudaSequences || args_.chunks == chunk_limit_) flush();
    }
  }

  // Instead of q, k, v and g of the tensors.
  void read(const GlaProducts& products) {
    args_.q = products.q.f32;
    args_.k = products.k.f32;
    args_.v = products.v.f32;
    args_.q16 = products.q.bf16;
    args_.k16 = products.k.bf16;
    args_.v16 = products.v.bf16;
    args_.g = products.r;
    args_.gates = true;
    args_.normalizer = products.normalizer;
    args_.lowest = lowest_decay(products.clamp, products.clamp_min);
  }

  void flush() {
    if (args_.count == 0) return;
    std::shared_ptr<void> scratch;
    if (chunk_limit_ > 0) {
      // A power of two, so that prompts of all lengths share a few sizes of cached memory.
      const auto chunks =
          static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(args_.chunks)));
      const std::int64_t bytes = chunks * gla_chunk_bytes(args_.heads, args_.kv_heads, args_.dk);
      scratch = allocate_on(stream_.device(), static_cast<std::size_t>(bytes));
      args_.scratch = scratch.get();
    }
    kernel_(stream_, args_);
    args_.count = 0;
    args_.chunks = 0;
  }

 private:
  Stream& stream_;
  const CudaKernel<GlaCudaArgs>& kernel_;
  std::int64_t chunk_limit_;  // 0 for none and no scratch
  GlaCudaArgs args_;
};

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kChunksPerLaunch = 256;  // 75 MB of scratch for 4 heads of 256

const CudaKernel<GlaCudaArgs>& chunked_kernel() {
  static const CudaKernel<GlaCudaArgs> kernel("aquatint_cuda_gla_chunked");
  return kernel;
}

// Sequences of one token go to the kernel for decoding, those from `chunked_from` on to the
// chunked one.
void run_on_cuda(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
                 std::int64_t count, const Tensors& tensors, std::int64_t chunked_from) {
  static const CudaKernel<GlaCudaArgs> step("aquatint_cuda_gla_step");
  static const CudaKernel<GlaCudaArgs> recurrent("aquatint_cuda_gla_recurrent");
  check(shape, sequences, count);
  CudaQueue steps(stream, shape, tensors, step, 0);
  CudaQueue short_runs(stream, shape, tensors, recurrent, 0);
  CudaQueue long_runs(stream, shape, tensors, chunked_kernel(), kChunksPerLaunch);
  for (std::int64_t s = 0; s < count; ++s) {
    const std::int64_t tokens = sequences[s].tokens;
    CudaQueue& queue = tokens >= chunked_from ? long_runs : tokens > 1 ? short_runs : steps;
    queue.add(sequences[s]);
  }
  steps.flush();
  short_runs.flush();
  long_runs.flush();
}

}  // namespace

void gla_forward(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count,
                 const float* q, const float* k, const float* v, const float* g, float* o) {
  const Variant& variant = variant_for(active_isa());
  run_all(shape, sequences, count, {q, k, v, g, o}, [&](std::int64_t tokens) -> const Form& {
    return tokens >= variant.chunked_from ? variant.chunked : variant.recurrent;
  });
}

void gla_recurrent(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count,
                   const float* q, const float* k, const float* v, const float* g, float* o,
                   Isa isa) {
  const Form& form = variant_for(isa).recurrent;
  run_all(shape, sequences, count, {q, k, v, g, o},
          [&](std::int64_t) -> const Form& { return form; });
}

void gla_chunked(const GlaShape& shape, const GlaSequence* sequences, std::int64_t count,
                 const float* q, const float* k, const float* v, const float* g, float* o,
                 Isa isa) {
  const Form& form = variant_for(isa).chunked;
  run_all(shape, sequences, count, {q, k, v, g, o},
          [&](std::int64_t) -> const Form& { return form; });
}

void gla_log_decay(float* r, std::int64_t n, float normalizer, bool clamp, float clamp_min,
                   Isa isa) {
  check_normalizer(normalizer);
  const gla::LogDecayParams params = {normalizer, lowest_decay(clamp, clamp_min)};
  const gla::LogDecayKernel kernel = variant_for(isa).log_decay;
  parallel_for(n, kLogDecayGrain, [&](std::int64_t begin, std::int64_t end) {
    kernel(r + begin, end - begin, params);
  });
}

void gla_forward(Stream& stream, GlaArithmetic arithmetic, const GlaShape& shape,
                 const GlaSequence* sequences, std::int64_t count, const float* q, const float* k,
                 const float* v, const float* g, float* o) {
  if (!stream.is_cuda()) {
    gla_forward(shape, sequences, count, q, k, v, g, o);
    return;
  }
  const bool chunks = arithmetic == GlaArithmetic::kBFloat16 && shape.dk <= kGlaChunkedDk;
  run_on_cuda(stream, shape, sequences, count, {q, k, v, g, o}, chunks ? kGlaChunkedFrom : kNever);
}

bool gla_takes_products(Stream& stream, GlaArithmetic arithmetic, const GlaShape& shape,
                        const GlaSequence* sequences, std::int64_t count) {
  if (!stream.is_cuda() || arithmetic != GlaArithmetic::kBFloat16) return false;
  if (shape.dk > kGlaChunkedDk || shape.dv % 8 != 0) return false;
  return std::all_of(sequences, sequences + count, [](const GlaSequence& s) {
    return s.tokens == 0 || s.tokens >= kGlaChunkedFrom;
  });
}

void gla_forward(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
                 std::int64_t count, const GlaProducts& products, float* o) {
  AQUATINT_ASSERT(gla_takes_products(stream, GlaArithmetic::kBFloat16, shape, sequences, count));
  AQUATINT_ASSERT(products.q.sums == nullptr && products.q.ld == shape.heads * shape.dk);
  AQUATINT_ASSERT(products.k.sums == nullptr && products.k.ld == shape.kv_heads * shape.dk);
  AQUATINT_ASSERT(products.v.sums == nullptr && products.v.ld == shape.kv_heads * shape.dv);
  check(shape, sequences, count);
  check_normalizer(products.normalizer);
  CudaQueue queue(stream, shape, {nullptr, nullptr, nullptr, nullptr, o}, chunked_kernel(),
                  kChunksPerLaunch);
  queue.read(products);
  for (std::int64_t s = 0; s < count; ++s) queue.add(sequences[s]);
  queue.flush();
}

void gla_recurrent(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
                   std::int64_t count, const float* q, const float* k, const float* v,
                   const float* g, float* o) {
  if (!stream.is_cuda()) {
    gla_recurrent(shape, sequences, count, q, k, v, g, o);
    return;
  }
  run_on_cuda(stream, shape, sequences, count, {q, k, v, g, o}, kNever);
}

void gla_chunked(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
                 std::int64_t count, const float* q, const float* k, const float* v, const float* g,
                 float* o) {
  if (!stream.is_cuda()) {
    gla_chunked(shape, sequences, count, q, k, v, g, o);
    return;
  }
  if (shape.dk > kGlaChunkedDk) {
    raise(ErrorKind::kInvalidArgument, "gla: dk {} is above {}, which chunks on a GPU take",
          shape.dk, kGlaChunkedDk);
  }
  run_on_cuda(stream, shape, sequences, count, {q, k, v, g, o}, 1);
}

void gla_step(Stream& stream, const GlaShape& shape, const GlaSequence* sequences,
              std::int64_t count, const float* q, const float* k, const float* v,
              const GlaGate& gate, float* o) {
  static_assert(GlaGate::kRank == kGlaGateRank);
  static const CudaKernel<GlaCudaArgs> step("aquatint_cuda_gla_step");
  check_normalizer(gate.normalizer);
  check(shape, sequences, count);
  const GlaCudaGate plain = {gate.w, gate.bias, gate.low, gate.normalizer,
                             gate.clamp_min.value_or(-std::numeric_limits<float>::infinity())};
  CudaQueue steps(stream, shape, {q, k, v, nullptr, o}, step, 0, plain);
  for (std::int64_t s = 0; s < count; ++s) {
    AQUATINT_ASSERT(sequences[s].tokens == 1);
    steps.add(sequences[s]);
  }
  steps.flush();
}

void gla_log_decay(Stream& stream, float* r, std::int64_t n, float normalizer, bool clamp,
                   float clamp_min) {
  if (!stream.is_cuda()) {
    gla_log_decay(r, n, normalizer, clamp, clamp_min);
    return;
  }
  check_normalizer(normalizer);
  static const CudaKernel<GlaLogDecayCudaArgs> kernel("aquatint_cuda_gla_log_decay");
  kernel(stream, {r, n, normalizer, lowest_decay(clamp, clamp_min)});
}

std::vector<Isa> gla_isas() {
  return available_isas(Isa::kAvx512);
}

}  // namespace aquatint::kernels
