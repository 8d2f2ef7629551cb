#include "kernels/attention/attention.h"

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cmath>
#include <memory>
#include <new>

#include "base/error.h"
#include "base/threads.h"
#include "device/cuda_kernel.h"
#include "device/device_memory.h"
#include "kernels/attention/attention_variants.h"
#include "kernels/attention/cuda_args.h"

namespace aquatint::kernels {
namespace {

// A few query rows see their keys in parts of this size, so that one token of one sequence occupies
// every thread. Fixed, because the parts determine the rounding.
constexpr std::int64_t kKeysPerPart = 512;
// Multiply-adds that are worth waking a thread.
constexpr std::int64_t kWorkPerThread = 1 << 17;

struct Item {
  std::int64_t sequence, kv_head;
  std::int64_t row_begin, row_end;
  std::int64_t key_begin, key_end;
  std::int64_t
      partial;  // index of its first row among the partial results, -1 if it needs no merging
  std::int64_t work() const { return (row_end - row_begin) * (key_end - key_begin); }
};

// The rows [row_begin, row_end) of a sequence and kv head, whose `parts` partial results begin at
// `partial` and are `distance` rows apart.
struct Merge {
  std::int64_t sequence, kv_head;
  std::int64_t row_begin, row_end;
  std::int64_t partial, parts, distance;
};

struct Plan {
  std::vector<Item> items;
  std::vector<Merge> merges;
  std::int64_t partial_rows = 0;
};

struct PartialResults {
  std::vector<float> largest, sum, weighted;
};

void check(const AttentionShape& shape, const AttentionSequence* sequences, std::int64_t count,
           const float* q, const float* o) {
  if (shape.heads < 1 || shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0 ||
      shape.head_dim < 1 || shape.window < 0) {
    raise(ErrorKind::kInvalidArgument,
          "attention: {} heads over {} key-value heads of {} values, window {}", shape.heads,
          shape.kv_heads, shape.head_dim, shape.window);
  }
  if (count < 0 || (count > 0 && (sequences == nullptr || q == nullptr || o == nullptr))) {
    raise(ErrorKind::kInvalidArgument, "attention: {} sequences without queries or outputs", count);
  }
  for (std::int64_t s = 0; s < count; ++s) {
    const AttentionSequence& sequence = sequences[s];
    const bool scaled = sequence.key_scales != nullptr && sequence.value_scales != nullptr;
    const bool given = sequence.keys != nullptr && sequence.values != nullptr &&
                       (shape.kv != KvType::kInt8 || scaled);
    if (sequence.first_row < 0 || sequence.tokens < 0 || sequence.past < 0 ||
        (sequence.tokens > 0 && !given)) {
      raise(
          ErrorKind::kInvalidArgument,
          "attention: sequence {} has {} tokens from row {} after {} positions, {} keys and values",
          s, sequence.tokens, sequence.first_row, sequence.past, given ? "with" : "no");
    }
  }
}

// Appends the items of query rows [row_begin, row_end) of every kv head of a sequence. Heads follow
// each other for the same keys: all heads of a position share its memory page, which is still
// mapped then.
void plan_rows(const AttentionKernel& kernel, const AttentionShape& shape,
               const AttentionSequence* sequences, std::int64_t s, std::int64_t row_begin,
               std::int64_t row_end, Plan& plan) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t first = sequences[s].past + row_begin / group;
  const std::int64_t last = sequences[s].past + (row_end - 1) / group;
  const std::int64_t low =
      shape.window > 0 ? std::max<std::int64_t>(0, first - shape.window + 1) : 0;
  const std::int64_t keys = last + 1 - low;
  const std::int64_t rows = row_end - row_begin;
  const std::int64_t parts = rows <= kernel.few_rows ? (keys + kKeysPerPart - 1) / kKeysPerPart : 1;
  for (std::int64_t head = 0; parts > 1 && head < shape.kv_heads; ++head) {
    plan.merges.push_back({s, head, row_begin, row_end, plan.partial_rows + head * rows, parts,
                           shape.kv_heads * rows});
  }
  for (std::int64_t part = 0; part < parts; ++part) {
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      plan.items.push_back({s, head, row_begin, row_end, low + keys * part / parts,
                            low + keys * (part + 1) / parts, parts > 1 ? plan.partial_rows : -1});
      if (parts > 1) plan.partial_rows += rows;
    }
  }
}

Plan make_plan(const AttentionKernel& kernel, const AttentionShape& shape,
               const AttentionSequence* sequences, std::int64_t count) {
  Plan plan;
  const std::int64_t group = shape.heads / shape.kv_heads;
  bool uneven = false;
  for (std::int64_t s = 0; s < count; ++s) {
    const std::int64_t rows = sequences[s].tokens * group;
    uneven = uneven || rows > kernel.tile_rows;
    for (std::int64_t row = 0; row < rows; row += kernel.tile_rows) {
      plan_rows(kernel, shape, sequences, s, row, std::min(rows, row + kernel.tile_rows), plan);
    }
  }
  // Later tokens see more keys; with the heaviest items first, threads finish together.
  if (uneven) {
    std::stable_sort(plan.items.begin(), plan.items.end(),
                     [](const Item& a, const Item& b) { return a.work() > b.work(); });
  }
  return plan;
}

AttentionTask make_task(const AttentionShape& shape, const AttentionSequence& sequence,
                        const Item& item, const float* q, float* o, float* scratch) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t stride = shape.heads * shape.head_dim;
  const std::int64_t at = sequence.first_row * stride + item.kv_head * group * shape.head_dim;
  AttentionTask task{};
  task.q = q + at;
  task.o = o + at;
  task.token_stride = stride;
  task.group = group;
  task.row_begin = item.row_begin;
  task.row_end = item.row_end;
  const std::int64_t head_stride = kv_head_stride(shape.kv, shape.head_dim);
  const std::int64_t first = item.kv_head * head_stride * kv_element_size(shape.kv);
  task.kv = shape.kv;
  task.keys = static_cast<const std::byte*>(sequence.keys) + first;
  task.values = static_cast<const std::byte*>(sequence.values) + first;
  task.kv_stride = shape.kv_heads * head_stride;
  if (shape.kv == KvType::kInt8) {
    task.key_scales = sequence.key_scales + item.kv_head;
    task.value_scales = sequence.value_scales + item.kv_head;
    task.scale_stride = shape.kv_heads;
  }
  task.past = sequence.past;
  task.key_begin = item.key_begin;
  task.key_end = item.key_end;
  task.head_dim = shape.head_dim;
  task.scale = shape.scale;
  task.window = shape.window;
  task.scratch = scratch;
  return task;
}

void run_items(const AttentionKernel& kernel, const AttentionShape& shape,
               const AttentionSequence* sequences, const Plan& plan, const float* q, float* o,
               PartialResults& partial) {
  std::int64_t work = 0;
  for (const Item& item : plan.items) work += item.work() * shape.head_dim * 2;
  const std::int64_t workers = std::clamp<std::int64_t>(work / kWorkPerThread, 1, num_threads());
  // Items are taken as threads become free; what each computes does not depend on who takes it.
  std::atomic<std::size_t> next{0};
  parallel_for(workers, 1, [&](std::int64_t, std::int64_t) {
    const auto floats = static_cast<std::size_t>(kernel.scratch_floats(shape.head_dim)) + 1;
    constexpr std::align_val_t kAlignment{64};
    const auto release = [](float* p) { ::operator delete[](p, kAlignment); };
    const std::unique_ptr<float[], decltype(release)> scratch(new (kAlignment) float[floats],
                                                              release);
    for (std::size_t i = next++; i < plan.items.size(); i = next++) {
      const Item& item = plan.items[i];
      AttentionTask task = make_task(shape, sequences[item.sequence], item, q, o, scratch.get());
      if (item.partial >= 0) {
        task.largest = partial.largest.data() + item.partial;
        task.sum = partial.sum.data() + item.partial;
        task.weighted = partial.weighted.data() + item.partial * shape.head_dim;
      }
      (item.row_end - item.row_begin <= kernel.few_rows ? kernel.few : kernel.tile)(task);
    }
  });
}

void merge_rows(const AttentionShape& shape, const AttentionSequence& sequence, const Merge& merge,
                const PartialResults& partial, float* o) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t rows = merge.row_end - merge.row_begin;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto index = [&](std::int64_t part) {
      return static_cast<std::size_t>(merge.partial + part * merge.distance + r);
    };
    float largest = -FLT_MAX;
    for (std::int64_t part = 0; part < merge.parts; ++part) {
      largest = std::max(largest, partial.largest[index(part)]);
    }
    const std::int64_t row = merge.row_begin + r;
    const std::int64_t head = merge.kv_head * group + row % group;
    float* out = o + ((sequence.first_row + row / group) * shape.heads + head) * shape.head_dim;
    std::fill(out, out + shape.head_dim, 0.0F);
    float sum = 0;
    for (std::int64_t part = 0; part < merge.parts; ++part) {
      const float weight = std::exp(partial.largest[index(part)] - largest);
      sum += weight * partial.sum[index(part)];
      const float* in =
          partial.weighted.data() + static_cast<std::int64_t>(index(part)) * shape.head_dim;
      for (std::int64_t i = 0; i < shape.head_dim; ++i) out[i] += weight * in[i];
    }
    for (std::int64_t i = 0; i < shape.head_dim; ++i) out[i] /= sum;
  }
}

// Collects sequences until there are as many as one launch takes.
class CudaBatch {
 public:
  CudaBatch(Stream& stream, const CudaKernel<AttentionCudaArgs>& kernel, AttentionCudaArgs args)
      : stream_(stream), kernel_(kernel), args_(args) {}

  void add(const AttentionSequence& sequence, std::int64_t parts) {
    AttentionCudaSequence& added = args_.sequences[args_.count++];
    added = {sequence.first_row,
             sequence.tokens,
             sequence.past,
             static_cast<const float*>(sequence.keys),
             static_cast<const float*>(sequence.values),
             parts,
             records_};
    if (parts > 1) records_ += parts * sequence.tokens * args_.heads;
    if (args_.count == AttentionCudaArgs::kMostSequences) run();
  }

  void run() {
    if (args_.count == 0) return;
    // Given back when the work is queued: the stream's order keeps others from writing to it
    // before.
    std::shared_ptr<void> memory;
    if (records_ > 0) {
      const auto floats = static_cast<std::size_t>(records_ * (args_.head_dim + 2));
      memory = allocate_on(stream_.device(), floats * sizeof(float));
      args_.part_stats = static_cast<float*>(memory.get());
      args_.part_weighted = args_.part_stats + records_ * 2;
    }
    kernel_(stream_, args_);
    args_.count = 0;
    records_ = 0;
  }

 private:
  Stream& stream_;
  const CudaKernel<AttentionCudaArgs>& kernel_;
  AttentionCudaArgs args_;
  std::int64_t records_ = 0;
};

void attend_cuda(Stream& stream, const AttentionShape& shape, const AttentionSequence* sequences,
                 std::int64_t count, const float* q, float* o) {
  static const CudaKernel<AttentionCudaArgs> few_kernel("aquatint_cuda_attention_few");
  static const CudaKernel<AttentionCudaArgs> tile_kernel("aquatint_cuda_attention_tiles");
  AttentionCudaArgs args;
  args.q = q;
  args.o = o;
  args.heads = shape.heads;
  args.kv_heads = shape.kv_heads;
  args.head_dim = shape.head_dim;
  args.window = shape.window;
  args.scale = shape.scale;
  CudaBatch few(stream, few_kernel, args), tiles(stream, tile_kernel, args);
  for (std::int64_t s = 0; s < count; ++s) {
    const AttentionSequence& sequence = sequences[s];
    if (sequence.tokens == 0) continue;
    const std::int64_t rows = sequence.tokens * (shape.heads / shape.kv_heads);
    if (rows <= kCudaFewRows) {
      const std::int64_t low =
          shape.window > 0 ? std::max<std::int64_t>(0, sequence.past - shape.window + 1) : 0;
      const std::int64_t keys = sequence.past + sequence.tokens - low;
      few.add(sequence, (keys + kCudaKeysPerPart - 1) / kCudaKeysPerPart);
    } else if (shape.head_dim > kCudaTileHeadDim) {
      few.add(sequence, 1);
    } else {
      tiles.add(sequence, 1);
    }
  }
  few.run();
  tiles.run();
}

}  // namespace

const std::vector<AttentionVariant>& attention_variants() {
  static const std::vector<AttentionVariant> variants = {
    {Isa::kReference, &kAttentionReference},
#if defined(__x86_64__)
    {Isa::kAvx2, &kAttentionAvx2},
    {Isa::kAvx512, &kAttentionAvx512},
#endif
  };
  return variants;
}

const AttentionKernel* attention_bf16_kernel() {
#if defined(__x86_64__)
  if (detected_isa() >= Isa::kAvx512Bf16) return &kAttentionAvx512Bf16;
#endif
  return nullptr;
}

void attention_with(const AttentionVariant& variant, const AttentionShape& shape,
                    const AttentionSequence* sequences, std::int64_t count, const float* q,
                    float* o) {
  attention_with(*variant.kernel, shape, sequences, count, q, o);
}

void attention_with(const AttentionKernel& kernel, const AttentionShape& shape,
                    const AttentionSequence* sequences, std::int64_t count, const float* q,
                    float* o) {
  check(shape, sequences, count, q, o);
  const Plan plan = make_plan(kernel, shape, sequences, count);
  const auto rows = static_cast<std::size_t>(plan.partial_rows);
  PartialResults partial{std::vector<float>(rows), std::vector<float>(rows),
                         std::vector<float>(rows * static_cast<std::size_t>(shape.head_dim))};
  run_items(kernel, shape, sequences, plan, q, o, partial);
  parallel_for(static_cast<std::int64_t>(plan.merges.size()), 16,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const Merge& merge = plan.merges[static_cast<std::size_t>(i)];
                   merge_rows(shape, sequences[merge.sequence], merge, partial, o);
                 }
               });
}

void attention(const AttentionShape& shape, const AttentionSequence* sequences, std::int64_t count,
               const float* q, float* o) {
  static const AttentionVariant active = [] {
    AttentionVariant best = attention_variants().front();
    for (const auto& variant : attention_variants()) {
      if (variant.isa <= active_isa()) best = variant;
    }
    return best;
  }();
  static const AttentionKernel* const pairs =
      active_isa() >= Isa::kAvx512Bf16 ? attention_bf16_kernel() : nullptr;
  const bool bf16 = shape.arithmetic == AttentionArithmetic::kBFloat16 && pairs != nullptr;
  attention_with(bf16 ? *pairs : *active.kernel, shape, sequences, count, q, o);
}

void attention(Stream& stream, const AttentionShape& shape, const AttentionSequence* sequences,
               std::int64_t count, const float* q, float* o) {
  if (!stream.is_cuda()) return attention(shape, sequences, count, q, o);
  check(shape, sequences, count, q, o);
  if (shape.head_dim > kCudaMostHeadDim) {
    raise(ErrorKind::kUnsupported, "attention: heads of {} values on a GPU (at most {})",
          shape.head_dim, kCudaMostHeadDim);
  }
  if (shape.kv != KvType::kF32) {
    raise(ErrorKind::kUnsupported, "'{}': keys and values are float32 on a GPU",
          stream.device().str());
  }
  attend_cuda(stream, shape, sequences, count, q, o);
}

}  // namespace aquatint::kernels
