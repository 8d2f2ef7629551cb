#include "quantize/pipeline.h"

#include <chrono>

#include "base/hash.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/progress.h"
#include "formats/atomic_file.h"
#include "formats/sharded_writer.h"
#include "quantize/journal.h"
#include "quantize/output.h"
#include "quantize/planned_tensor.h"
#include "quantize/working_folder.h"

namespace aquatint {
namespace {

// Changes when the same inputs would give other bytes: part of the fingerprint.
constexpr int kPipelineVersion = 1;

std::string run_fingerprint(const Checkpoint& checkpoint, const Recipe& recipe, const Plan& plan,
                            const QuantizeOptions& options) {
  Hasher hasher;
  hasher.update(checkpoint.fingerprint());
  hasher.update(recipe.name);  // the output names it
  hasher.update(recipe.text);
  hasher.update(fmt::format("{} {}", kPipelineVersion, options.max_shard_bytes));
  hasher.update(plan.calibration);
  for (const TensorPlan& t : plan.tensors) {
    if (!t.scheme || !is_static(t.scheme->activations)) continue;
    hasher.update(fmt::format("{} {:a} {}", t.spec->name, t.input.scale, t.input.zero_point));
  }
  return hasher.hex();
}

// Blocks in order between what stands before and after them.
struct Unit {
  std::string name;
  std::vector<const TensorPlan*> tensors;
};

std::vector<Unit> make_units(const Checkpoint& checkpoint, const Plan& plan) {
  std::vector<Unit> units;
  std::vector<const TensorPlan*> before, after;
  for (const TensorPlan* t : plan.of_block(-1)) {
    const Role role = t->spec->role;
    (role == Role::kEmbedding || role == Role::kPosition ? before : after).push_back(t);
  }
  units.push_back({"input", std::move(before)});
  for (int i = 0; i < checkpoint.architecture().blocks(); ++i) {
    units.push_back({fmt::format("block {}", i), plan.of_block(i)});
  }
  units.push_back({"output", std::move(after)});
  return units;
}

void write_tensor(const WeightSource& weights, const TensorPlan& plan, Stream& stream,
                  ShardedWriter& output) {
  if (!plan.scheme) {
    Tensor source = planned_source(weights, plan);
    if (source.dtype() != plan.dtype) source = source.to_f32().to(plan.dtype);
    output.write(plan.spec->name, plan.spec->transposed ? source.transposed() : source);
    return;
  }
  const QuantizedMatrix matrix = round_planned(weights, plan, stream);
  for (const auto& [name, tensor] :
       to_compressed_tensors(plan.spec->module(), *plan.scheme, matrix, plan.dtype,
                             plan.spec->transposed, plan.input)) {
    output.write(name, tensor);
  }
}

// Notes finished units in the journal, each time after their bytes have reached the disk. Disks
// differ by orders of magnitude in how long that takes, so it is done as often as it costs a tenth
// of the time.
class Checkpointer {
 public:
  Checkpointer(Journal& journal, ShardedWriter& output) : journal_(journal), output_(output) {}

  void finished(const std::string& unit) {
    pending_.push_back(unit);
    if (Clock::now() - last_ >= 9 * cost_) flush();
  }
  void flush() {
    const auto start = Clock::now();
    output_.flush();
    journal_.finish(pending_);
    pending_.clear();
    last_ = Clock::now();
    cost_ = last_ - start;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Journal& journal_;
  ShardedWriter& output_;
  std::vector<std::string> pending_;
  Clock::time_point last_ = Clock::now();
  Clock::duration cost_{0};
};

std::int64_t run_units(const Checkpoint& checkpoint, const WeightSource& weights,
                       const std::vector<Unit>& units, Stream& stream, Journal& journal,
                       ShardedWriter& output) {
  std::int64_t resumed = 0;
  Checkpointer checkpointer(journal, output);
  Progress progress("quantizing", "blocks", static_cast<std::int64_t>(units.size()));
  for (const Unit& unit : units) {
    const bool done = journal.done(unit.name);
    for (const TensorPlan* plan : unit.tensors) {
      if (!done) {
        write_tensor(weights, *plan, stream, output);
        continue;
      }
      for (const TensorInfo& info : stored_infos(*plan)) output.skip(info.name);
    }
    if (done) {
      ++resumed;
    } else {
      checkpointer.finished(unit.name);
    }
    // Nothing of the mapped model stays resident.
    for (const auto& file : checkpoint.tensors().files()) file->release(0, file->bytes().size());
    progress.advance(1);
  }
  checkpointer.flush();
  return resumed;
}

void fill_folder(const Checkpoint& checkpoint, const WeightSource& weights, const Recipe& recipe,
                 const Plan& plan, const QuantizeOptions& options, const WorkingFolder& folder,
                 Journal& journal, const std::string& fingerprint, QuantizeResult& result) {
  std::vector<TensorInfo> infos;
  for (const TensorPlan& t : plan.tensors) {
    for (TensorInfo& info : stored_infos(t)) infos.push_back(std::move(info));
  }
  ShardedWriter output(folder.path(), infos, options.max_shard_bytes);
  sync_path(folder.path());  // the names of the shards, before the journal speaks of their contents
  result.resumed_units = run_units(checkpoint, weights, make_units(checkpoint, plan),
                                   Stream::of(options.device), journal, output);
  output.finish();
  result.shards = output.shards();
  copy_model_files(checkpoint, folder.path());
  write_text_file(folder.path() / "recipe.yaml", recipe.text);
  write_text_file(folder.path() / "config.json",
                  quantized_config(checkpoint, recipe, plan, fingerprint));
}

// Whether running again may succeed, so that what is done is worth keeping.
bool may_pass(ErrorKind kind) {
  return kind == ErrorKind::kIo || kind == ErrorKind::kOutOfMemory || kind == ErrorKind::kDevice ||
         kind == ErrorKind::kInterrupted;
}

}  // namespace

void check_output(const Checkpoint& checkpoint, const QuantizeOptions& options) {
  const WorkingFolder folder(options.output);
  folder.check_source(checkpoint.folder());
  folder.check_place();
  if (!folder.awaits_tidying()) folder.check(options.overwrite);
}

QuantizeResult quantize(const Checkpoint& checkpoint, const Recipe& recipe, const Plan& plan,
                        const QuantizeOptions& options) {
  return quantize(checkpoint, checkpoint, recipe, plan, options);
}

QuantizeResult quantize(const Checkpoint& checkpoint, const WeightSource& weights,
                        const Recipe& recipe, const Plan& plan, const QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  AQUATINT_ASSERT(!plan.needs_calibration());
  const WorkingFolder folder(options.output);
  folder.check_source(checkpoint.folder());
  const std::string fingerprint = run_fingerprint(checkpoint, recipe, plan, options);
  QuantizeResult result;
  result.bytes_before = plan.bytes_before;
  result.bytes_after = plan.bytes_after;
  if (!folder.finish_publishing(fingerprint)) {
    folder.check(options.overwrite);
    folder.create();
    // Held, and with it the lock, until the folder has its final name.
    Journal journal(folder.journal(), fingerprint);
    folder.check(options.overwrite);
    if (journal.finished_units() > 0) {
      log(LogLevel::kInfo, "continuing an interrupted run: {} units are done",
          journal.finished_units());
    }
    try {
      fill_folder(checkpoint, weights, recipe, plan, options, folder, journal, fingerprint, result);
      folder.publish(options.overwrite);
    } catch (const Error& error) {
      if (may_pass(error.kind())) {
        log(LogLevel::kInfo, "'{}' keeps what is done; the same command continues it",
            folder.path().string());
      } else {
        folder.remove();
      }
      throw;
    }
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace aquatint
