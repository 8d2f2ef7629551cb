#include "eval/sensitivity.h"

#include <algorithm>
#include <limits>

namespace aquatint {
namespace {

constexpr double kMib = 1024.0 * 1024.0;

std::set<const TensorPlan*> all_rounded(const Plan& plan) {
  std::set<const TensorPlan*> all;
  for (const TensorPlan& tensor : plan.tensors) {
    if (tensor.scheme) all.insert(&tensor);
  }
  return all;
}

// Each unit alone, then everything but each unit if wanted, then everything.
std::vector<SweepVariant> make_variants(const Plan& plan, const std::vector<SensitivityUnit>& units,
                                        bool leave_out) {
  std::vector<SweepVariant> variants;
  for (const SensitivityUnit& unit : units) {
    variants.push_back({unit.name, {unit.tensors.begin(), unit.tensors.end()}, {}});
  }
  const std::size_t everything = units.size() * (leave_out ? 2 : 1);
  for (const SensitivityUnit& unit : units) {
    if (!leave_out) break;
    SweepVariant variant{"all but " + unit.name, all_rounded(plan), everything};
    for (const TensorPlan* tensor : unit.tensors) variant.rounded.erase(tensor);
    variants.push_back(std::move(variant));
  }
  variants.push_back({"everything", all_rounded(plan), {}});
  return variants;
}

void rank(std::vector<UnitSensitivity>& units) {
  std::stable_sort(units.begin(), units.end(), [](const auto& a, const auto& b) {
    return a.divergence_per_mib() > b.divergence_per_mib();
  });
}

}  // namespace

double UnitSensitivity::divergence_per_mib() const {
  const std::int64_t saved = unit.bytes_saved();
  if (saved <= 0) return std::numeric_limits<double>::max();
  return alone.mean_kld / (static_cast<double>(saved) / kMib);
}

double SensitivityResult::sum_of_divergences() const {
  double sum = 0;
  for (const UnitSensitivity& unit : units) sum += unit.alone.mean_kld;
  return sum;
}

double perplexity_change(const DivergenceResult& result) {
  return result.model.token_perplexity / result.reference.token_perplexity - 1;
}

SensitivityResult measure_sensitivity(const Checkpoint& checkpoint, const WeightSource& weights,
                                      const Plan& plan, const Tokenizer& tokenizer,
                                      const TextData& data, const SensitivityOptions& options) {
  const Architecture& architecture = checkpoint.architecture();
  const TextPlan text = plan_text(
      data, tokenizer, {architecture.context_length(), architecture.max_positions()}, options.text);
  const std::vector<SensitivityUnit> units = make_sensitivity_units(plan, options.by);
  const std::vector<SweepVariant> variants = make_variants(plan, units, options.leave_out);
  RoundedTensors rounded(checkpoint, weights, plan);
  const auto rows = sweep_variants(rounded, variants, text, options.sweep);

  SensitivityResult result;
  result.bytes_before = plan.bytes_before;
  result.bytes_after = plan.bytes_after;
  const auto summary = [&](std::size_t variant) {
    return summarize_divergence(text, rows[variant], 0, 0);
  };
  result.all = summary(variants.size() - 1);
  for (std::size_t i = 0; i < units.size(); ++i) {
    result.units.push_back({units[i], summary(i), {}});
    if (options.leave_out) result.units.back().left_out = summary(units.size() + i);
  }
  const double sum = result.sum_of_divergences();
  for (UnitSensitivity& unit : result.units) {
    unit.share = sum > 0 ? unit.alone.mean_kld / sum : 0;
  }
  rank(result.units);
  result.keep = choose_units_to_keep(result.units);
  return result;
}

std::vector<std::size_t> choose_units_to_keep(const std::vector<UnitSensitivity>& units) {
  constexpr double kLeastRatio = 2, kMostBytes = 1.0 / 3, kErrors = 2;
  const auto saved = [](const UnitSensitivity& unit) {
    return static_cast<double>(std::max<std::int64_t>(0, unit.unit.bytes_saved()));
  };
  double total = 0;
  for (const UnitSensitivity& unit : units) total += saved(unit);
  const double least_share = std::min(0.05, 0.5 / static_cast<double>(units.size()));
  std::vector<std::size_t> keep;
  double given_up = 0;
  for (std::size_t i = 0; i < units.size() && units.size() > 1; ++i) {
    const UnitSensitivity& unit = units[i];
    const double bytes = total > 0 ? saved(unit) / total : 0;
    if (unit.share < least_share || unit.share < kLeastRatio * bytes) continue;
    if (unit.alone.mean_kld <= kErrors * unit.alone.mean_kld_error) continue;
    if (given_up + bytes > kMostBytes) continue;
    keep.push_back(i);
    given_up += bytes;
  }
  return keep;
}

}  // namespace aquatint
