#include "quantize/plan.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/memory.h"
#include "base/printable.h"
#include "quantize/working_folder.h"

namespace aquatint {
namespace {

constexpr std::int64_t kSmallestGroup = 16;

// What the recipe says of one tensor, before its shape is looked at.
Treatment treatment_of(const Recipe& recipe, const TensorSpec& spec, std::string& note) {
  const std::string module = spec.module();
  const auto selected = [&](const std::vector<Selector>& selectors) {
    return std::any_of(selectors.begin(), selectors.end(),
                       [&](const Selector& s) { return s.matches(module, spec.role); });
  };
  if (selected(recipe.ignore)) {
    note = "ignored by the recipe";
    return {};
  }
  for (auto rule = recipe.overrides.rbegin(); rule != recipe.overrides.rend(); ++rule) {
    if (!selected(rule->match)) continue;
    if (!rule->treatment.scheme) note = "kept by the recipe";
    return rule->treatment;
  }
  switch (spec.role) {
    case Role::kHead:
      if (!recipe.head) note = "head: kept unless the recipe has 'head'";
      return recipe.head.value_or(Treatment{});
    case Role::kEmbedding:
      if (!recipe.embedding) note = "embedding: kept unless the recipe has 'embedding'";
      return recipe.embedding.value_or(Treatment{});
    case Role::kLowRankGate:
      note =
          "low-rank gate: feeds exponentials; quantize it with an override of role:low_rank_gate";
      return {};
    default:
      break;
  }
  if (!is_linear(spec.role)) return {};
  return recipe.projections;
}

// Columns that the group size does not divide get the largest smaller power-of-two group that does,
// or one scale per row when there is none: other tools refuse such tensors, block formats break on
// them silently.
void fit_group(ModuleScheme& scheme, std::int64_t columns, std::string& note) {
  WeightScheme& w = scheme.weights;
  if (w.granularity != Granularity::kGroup || columns % w.group_size == 0) return;
  const std::int64_t asked = w.group_size;
  std::int64_t fitted = kSmallestGroup;
  while (fitted * 2 < asked) fitted *= 2;
  while (fitted >= kSmallestGroup && columns % fitted != 0) fitted /= 2;
  if (fitted >= kSmallestGroup) {
    w.group_size = fitted;
    note = fmt::format("{} columns are not a multiple of {}: groups of {}", columns, asked, fitted);
  } else {
    w.granularity = Granularity::kRow;
    w.group_size = 0;
    note = fmt::format("{} columns are not a multiple of {}: one scale per row", columns, asked);
  }
}

void check_selectors_match(const Recipe& recipe, const Architecture& architecture) {
  const auto check = [&](const Selector& selector) {
    if (!selector.must_match()) return;
    std::vector<std::string> modules;
    for (const TensorSpec& spec : architecture.tensors()) {
      if (!is_linear(spec.role) && spec.role != Role::kEmbedding) continue;
      if (selector.matches(spec.module(), spec.role)) return;
      modules.push_back(spec.module());
    }
    raise(ErrorKind::kInvalidArgument,
          "recipe '{}': selector '{}' matches no projection of this model (names are like '{}')",
          printable(recipe.name), printable(selector.text()),
          modules.empty() ? "" : modules[modules.size() / 2]);
  };
  for (const Selector& selector : recipe.ignore) check(selector);
  for (const RecipeOverride& rule : recipe.overrides) {
    for (const Selector& selector : rule.match) check(selector);
  }
}

std::int64_t info_bytes(const TensorInfo& info) {
  return info.shape.numel() * static_cast<std::int64_t>(dtype_size(info.dtype));
}

// Rows of a table are gathered, not multiplied: packed words do not allow it, and there are no
// activations.
void shape_embedding(const Recipe& recipe, const TensorSpec& spec, ModuleScheme& scheme) {
  const WeightScheme& w = scheme.weights;
  if (w.bits != 8 || !w.symmetric || w.granularity != Granularity::kRow) {
    raise(ErrorKind::kInvalidArgument,
          "recipe '{}': '{}' is an embedding and cannot be {}: it takes weights {{bits: 8, "
          "granularity: row}} or stays as it is",
          printable(recipe.name), spec.module(), w.str());
  }
  scheme.layout = WeightLayout::kInts;
  scheme.activations = ActivationScheme::kFloat;
}

TensorPlan plan_tensor(const Recipe& recipe, const TensorSpec& spec) {
  TensorPlan plan;
  plan.spec = &spec;
  const Treatment treatment = treatment_of(recipe, spec, plan.note);
  const bool quantizable = is_linear(spec.role) || spec.role == Role::kEmbedding;
  if (treatment.scheme && !quantizable) {
    plan.note = fmt::format("a {} is not multiplied as a matrix: kept", role_name(spec.role));
  } else if (treatment.scheme) {
    plan.scheme = treatment.scheme;
    if (spec.role == Role::kEmbedding) shape_embedding(recipe, spec, *plan.scheme);
    plan.rounding = treatment.rounding;
    plan.observer = treatment.observer;
    fit_group(*plan.scheme, spec.shape[1], plan.note);
  }
  return plan;
}

}  // namespace

bool Plan::needs_calibration() const {
  return calibration.empty() &&
         std::any_of(tensors.begin(), tensors.end(), [](const TensorPlan& t) {
           return t.scheme && is_static(t.scheme->activations);
         });
}

std::vector<const TensorPlan*> Plan::of_block(int block) const {
  std::vector<const TensorPlan*> plans;
  for (const TensorPlan& plan : tensors) {
    if (plan.spec->block == block) plans.push_back(&plan);
  }
  return plans;
}

std::vector<TensorInfo> stored_infos(const TensorPlan& plan) {
  const TensorSpec& spec = *plan.spec;
  if (!plan.scheme) return {{spec.name, plan.dtype, spec.stored_shape()}};
  return compressed_tensor_infos(spec.module(), *plan.scheme, spec.shape[0], spec.shape[1],
                                 plan.dtype, spec.transposed);
}

Plan make_plan(const Checkpoint& checkpoint, const Recipe& recipe) {
  if (checkpoint.quantization()) {
    raise(ErrorKind::kUnsupported, "'{}': already quantized; start from the original model",
          checkpoint.folder().string());
  }
  const Architecture& architecture = checkpoint.architecture();
  check_selectors_match(recipe, architecture);

  Plan plan;
  for (const TensorSpec& spec : architecture.tensors()) {
    plan.tensors.push_back(plan_tensor(recipe, spec));
  }
  // A tied head and its table share bytes only while both stay in floating point.
  const bool tied = checkpoint.head_is_tied();
  const bool shared_quantized =
      std::any_of(plan.tensors.begin(), plan.tensors.end(), [](const TensorPlan& t) {
        return t.scheme && (t.spec->role == Role::kHead || t.spec->role == Role::kEmbedding);
      });
  plan.unties_head = tied && shared_quantized;
  const TensorSpec* table = nullptr;
  for (const TensorSpec& spec : architecture.tensors()) {
    if (spec.role == Role::kEmbedding) table = &spec;
  }
  if (tied && !shared_quantized) {
    std::erase_if(plan.tensors, [](const TensorPlan& t) { return t.spec->role == Role::kHead; });
  }

  std::int64_t largest = 0;
  std::map<int, std::int64_t> mapped_bytes;  // by block
  for (TensorPlan& t : plan.tensors) {
    const bool from_table = t.spec->role == Role::kHead && tied;
    const TensorSpec& stored = from_table ? *table : *t.spec;
    t.dtype = checkpoint.stored_dtype(stored);
    t.bytes_before = checkpoint.stored_bytes(*t.spec);
    const std::int64_t source_bytes = checkpoint.read_bytes(stored);
    for (const TensorInfo& info : stored_infos(t)) t.bytes_after += info_bytes(info);
    if (from_table)
      t.note += t.note.empty() ? "was tied to the embedding" : "; untied from the embedding";
    plan.bytes_before += t.bytes_before;
    plan.bytes_read += checkpoint.read_bytes(*t.spec);
    plan.bytes_after += t.bytes_after;
    // One tensor at a time: the integers, one byte each, and what is stored, beside the block as it
    // is read.
    std::int64_t& mapped = mapped_bytes[t.spec->block];
    mapped += source_bytes;
    if (t.scheme) largest = std::max(largest, t.spec->shape.numel() + t.bytes_after);
  }
  constexpr std::int64_t kBase = std::int64_t{64} << 20;
  plan.memory_bytes = kBase + largest;
  for (const auto& [block, bytes] : mapped_bytes) {
    plan.memory_bytes = std::max(plan.memory_bytes, kBase + largest + bytes);
  }
  plan.disk_bytes = plan.bytes_after + (std::int64_t{4} << 20);
  return plan;
}

Resources available_resources(const std::filesystem::path& output) {
  Resources available{available_memory_bytes(), free_disk_bytes(output)};
  const bool known = available.disk != std::numeric_limits<std::int64_t>::max();
  available.disk = known ? available.disk + WorkingFolder(output).reserved_bytes() : -1;
  return available;
}

void preflight(const Plan& plan, const std::filesystem::path& output, const Resources& available) {
  if (available.memory >= 0 && plan.memory_bytes > available.memory) {
    raise(ErrorKind::kOutOfMemory, "quantizing needs {} of memory; {} are available",
          format_bytes(plan.memory_bytes), format_bytes(available.memory));
  }
  if (available.disk >= 0 && plan.disk_bytes > available.disk) {
    raise(ErrorKind::kOutOfMemory, "'{}': the output needs {} of disk; {} are free",
          output.string(), format_bytes(plan.disk_bytes), format_bytes(available.disk));
  }
}

void preflight(const Plan& plan, const std::filesystem::path& output) {
  preflight(plan, output, available_resources(output));
}

}  // namespace aquatint
