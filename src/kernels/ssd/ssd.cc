#include "kernels/ssd/ssd.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/ssd/ssd_kernels.h"
#include "kernels/thread_scratch.h"

namespace aquatint::kernels {
namespace {

using ssd::Form;
using ssd::Task;
using ssd::Variant;

// Multiply-adds below which a second thread costs more than it brings (about 5 us of work).
constexpr std::int64_t kWorkPerThread = 48 * 1024;

const Variant& variant_for(Isa wanted) {
  const Isa isa = std::min(wanted, detected_isa());
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512) return ssd::kAvx512;
  if (isa >= Isa::kAvx2) return ssd::kAvx2;
#endif
  static_cast<void>(isa);
  return ssd::kReference;
}

const Form& chunked_form(SsdArithmetic arithmetic, Isa wanted) {
  const Isa isa = std::min(wanted, detected_isa());
#if defined(__x86_64__)
  if (arithmetic == SsdArithmetic::kBFloat16 && isa >= Isa::kAvx512Bf16) {
    return ssd::kAvx512Bf16Chunked;
  }
#endif
  static_cast<void>(arithmetic);
  return variant_for(isa).chunked;
}

void check(const SsdShape& shape, const SsdInputs& in, const SsdSequence* sequences,
           std::int64_t count) {
  if (shape.heads < 1 || shape.groups < 1 || shape.head_dim < 1 || shape.states < 1 || count < 0 ||
      shape.heads % shape.groups != 0) {
    raise(ErrorKind::kInvalidArgument, "ssd: {} heads of {}, {} groups of {} states, {} sequences",
          shape.heads, shape.head_dim, shape.groups, shape.states, count);
  }
  if (in.ld < std::max(shape.heads * shape.head_dim, shape.groups * shape.states) ||
      in.ld_dt < shape.heads) {
    raise(ErrorKind::kInvalidArgument,
          "ssd: rows of x, B and C are {} apart, those of dt {}, for {} heads of {} and {} groups "
          "of {} states",
          in.ld, in.ld_dt, shape.heads, shape.head_dim, shape.groups, shape.states);
  }
  if (!(in.dt_low <= in.dt_high)) {
    raise(ErrorKind::kInvalidArgument, "ssd: step sizes from {} to {}", in.dt_low, in.dt_high);
  }
  for (std::int64_t s = 0; s < count; ++s) {
    const SsdSequence& sequence = sequences[s];
    if (sequence.tokens < 0 || sequence.first_row < 0 || sequence.state == nullptr) {
      raise(ErrorKind::kInvalidArgument, "ssd: sequence {} has first row {}, {} tokens{}", s,
            sequence.first_row, sequence.tokens, sequence.state == nullptr ? " and no state" : "");
    }
  }
}

Task task_of(const SsdShape& shape, const SsdInputs& in, const SsdSequence& sequence, float* y) {
  Task task{};
  const std::int64_t row = sequence.first_row;
  task.tokens = sequence.tokens;
  task.heads = shape.heads;
  task.heads_per_group = shape.heads / shape.groups;
  task.head_dim = shape.head_dim;
  task.states = shape.states;
  task.x = in.x + row * in.ld;
  task.b = in.b + row * in.ld;
  task.c = in.c + row * in.ld;
  task.ld = in.ld;
  task.dt = in.dt + row * in.ld_dt;
  task.ld_dt = in.ld_dt;
  task.dt_bias = in.dt_bias;
  task.rates = in.rates;
  task.skip = in.skip;
  task.skip_per_channel = in.skip_per_channel;
  task.dt_low = in.dt_low;
  task.dt_high = in.dt_high;
  task.y = y + row * shape.heads * shape.head_dim;
  task.state = sequence.state;
  return task;
}

// Each thread takes some heads of all sequences, so that parts are equal however unequal those are.
template <typename FormOf>
void run_all(const SsdShape& shape, const SsdInputs& inputs, const SsdSequence* sequences,
             std::int64_t count, float* y, const FormOf& form_of) {
  check(shape, inputs, sequences, count);
  std::int64_t tokens = 0;
  for (std::int64_t s = 0; s < count; ++s) tokens += sequences[s].tokens;
  const std::int64_t work = std::max<std::int64_t>(1, tokens * shape.head_dim * shape.states);
  parallel_for(shape.heads, std::max<std::int64_t>(1, kWorkPerThread / work),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t s = 0; s < count; ++s) {
                   if (sequences[s].tokens == 0) continue;
                   Task task = task_of(shape, inputs, sequences[s], y);
                   task.head_begin = begin;
                   task.head_end = end;
                   const Form& form = form_of(task.tokens);
                   form.run(task, thread_scratch(form.scratch_bytes(task)));
                 }
               });
}

}  // namespace

void ssd_forward(SsdArithmetic arithmetic, const SsdShape& shape, const SsdInputs& inputs,
                 const SsdSequence* sequences, std::int64_t count, float* y) {
  const Variant& variant = variant_for(active_isa());
  const Form& chunked = chunked_form(arithmetic, active_isa());
  run_all(shape, inputs, sequences, count, y, [&](std::int64_t tokens) -> const Form& {
    return tokens >= variant.chunked_from ? chunked : variant.recurrent;
  });
}

void ssd_recurrent(const SsdShape& shape, const SsdInputs& inputs, const SsdSequence* sequences,
                   std::int64_t count, float* y, Isa isa) {
  const Form& form = variant_for(isa).recurrent;
  run_all(shape, inputs, sequences, count, y, [&](std::int64_t) -> const Form& { return form; });
}

void ssd_chunked(SsdArithmetic arithmetic, const SsdShape& shape, const SsdInputs& inputs,
                 const SsdSequence* sequences, std::int64_t count, float* y, Isa isa) {
  const Form& form = chunked_form(arithmetic, isa);
  run_all(shape, inputs, sequences, count, y, [&](std::int64_t) -> const Form& { return form; });
}

std::vector<Isa> ssd_isas() {
  return available_isas(Isa::kAvx512);
}

}  // namespace aquatint::kernels
