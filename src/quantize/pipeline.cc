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
#include "quantize/rounding.h"

namespace aquatint {
namespace {

// Changes when the same inputs would give other bytes: part of the fingerprint.
constexpr int kPipelineVersion = 1;

std::string run_fingerprint(const Checkpoint& checkpoint, const Recipe& recipe,
                            const QuantizeOptions& options) {
  Hasher hasher;
  hasher.update(checkpoint.fingerprint());
  hasher.update(recipe.text);
  hasher.update(fmt::format("{} {}", kPipelineVersion, options.max_shard_bytes));
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
    (t->spec->role == Role::kEmbedding ? before : after).push_back(t);
  }
  units.push_back({"input", std::move(before)});
  for (int i = 0; i < checkpoint.architecture().blocks(); ++i) {
    units.push_back({fmt::format("block {}", i), plan.of_block(i)});
  }
  units.push_back({"output", std::move(after)});
  return units;
}

// The float tensor a plan is about: the embedding table for a head that was tied to it.
Tensor source_tensor(const Checkpoint& checkpoint, const TensorPlan& plan) {
  const TensorSpec& spec = *plan.spec;
  if (spec.role == Role::kHead && checkpoint.head_is_tied()) {
    return std::get<Tensor>(checkpoint.linear(spec.module()).weight);
  }
  return checkpoint.tensor(spec.name);
}

void write_tensor(const Checkpoint& checkpoint, const TensorPlan& plan, ShardedWriter& output) {
  const Tensor source = source_tensor(checkpoint, plan);
  if (!plan.scheme) {
    output.write(plan.spec->name, source);
    return;
  }
  const RoundingEntry& rounding = find_rounding(plan.rounding);
  const QuantizedMatrix matrix = rounding.round(source.to_f32(), plan.scheme->weights, plan.dtype);
  for (const auto& [name, tensor] :
       to_compressed_tensors(plan.spec->module(), *plan.scheme, matrix, plan.dtype)) {
    output.write(name, tensor);
  }
}

std::int64_t run_units(const Checkpoint& checkpoint, const std::vector<Unit>& units,
                       Journal& journal, ShardedWriter& output) {
  std::int64_t resumed = 0;
  Progress progress("quantizing", "blocks", static_cast<std::int64_t>(units.size()));
  for (const Unit& unit : units) {
    const bool done = journal.done(unit.name);
    for (const TensorPlan* plan : unit.tensors) {
      if (!done) {
        write_tensor(checkpoint, *plan, output);
        continue;
      }
      for (const TensorInfo& info : stored_infos(*plan)) output.skip(info.name);
    }
    if (done) {
      ++resumed;
    } else {
      output.flush();
      journal.finish(unit.name);
    }
    progress.advance(1);
  }
  return resumed;
}

// A run killed between its last two steps leaves a complete output with the journal still in it.
bool finish_cleanup(const std::filesystem::path& final_folder, const std::string& fingerprint) {
  const std::filesystem::path path = final_folder / "journal.jsonl";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return false;
  if (read_text_file(path).find(fingerprint) == std::string::npos) return false;
  return std::filesystem::remove(path, error);
}

void prepare_folders(const QuantizeOptions& options, const std::filesystem::path& working) {
  std::error_code error;
  if (std::filesystem::exists(options.output, error) && !options.overwrite) {
    raise(ErrorKind::kInvalidArgument, "'{}' exists; choose another output or allow overwriting",
          options.output.string());
  }
  std::filesystem::create_directories(working, error);
  if (error) raise(ErrorKind::kIo, "'{}': {}", working.string(), error.message());
}

}  // namespace

QuantizeResult quantize(const Checkpoint& checkpoint, const Recipe& recipe, const Plan& plan,
                        const QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  std::filesystem::path working = options.output;
  if (!working.has_filename()) working = working.parent_path();
  const std::filesystem::path final_folder = working;
  working += ".partial";

  const std::string fingerprint = run_fingerprint(checkpoint, recipe, options);
  QuantizeResult result;
  result.bytes_before = plan.bytes_before;
  result.bytes_after = plan.bytes_after;
  if (finish_cleanup(final_folder, fingerprint)) return result;
  prepare_folders(options, working);
  {
    Journal journal(working / "journal.jsonl", fingerprint);
    if (journal.finished_units() > 0) {
      log(LogLevel::kInfo, "continuing an interrupted run: {} units are done",
          journal.finished_units());
    }
    std::vector<TensorInfo> infos;
    for (const TensorPlan& t : plan.tensors) {
      for (TensorInfo& info : stored_infos(t)) infos.push_back(std::move(info));
    }
    ShardedWriter output(working, infos, options.max_shard_bytes);
    result.resumed_units = run_units(checkpoint, make_units(checkpoint, plan), journal, output);
    output.finish();
    result.shards = output.shards();
  }
  copy_model_files(checkpoint.folder(), working);
  write_text_file(working / "recipe.yaml", recipe.text);
  write_text_file(working / "config.json",
                  quantized_config(checkpoint, recipe, plan, fingerprint));
  std::error_code error;
  if (options.overwrite) std::filesystem::remove_all(final_folder, error);
  sync_path(working);
  rename_durably(working, final_folder);
  std::filesystem::remove(final_folder / "journal.jsonl", error);
  result.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace aquatint
