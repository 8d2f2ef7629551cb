#include "report/inspect.h"

#include <map>
#include <nlohmann/json.hpp>

#include "base/memory.h"
#include "models/running_bytes.h"
#include "report/table.h"

namespace aquatint {

using nlohmann::json;

namespace {

constexpr std::int64_t kStateTokens = 2048;

std::string scheme_text(const Checkpoint& checkpoint, const TensorSpec& spec) {
  if (spec.role == Role::kHead && checkpoint.head_is_tied()) return "tied to the embedding";
  const auto scheme = checkpoint.scheme(spec);
  if (!scheme) return checkpoint.stored_name(spec);
  if (spec.role == Role::kEmbedding) return scheme->weights.str();
  return scheme->weights.str() + ", " + activation_scheme_name(scheme->activations);
}

struct RoleTotals {
  std::int64_t tensors = 0, parameters = 0, bytes = 0;
  std::map<std::string, std::int64_t> forms;  // parameters by how they are stored
};

std::map<std::string, RoleTotals> totals_by_role(const Checkpoint& checkpoint) {
  std::map<std::string, RoleTotals> totals;
  for (const TensorSpec& spec : checkpoint.architecture().tensors()) {
    if (spec.role == Role::kHead && checkpoint.head_is_tied()) continue;
    RoleTotals& role = totals[role_name(spec.role)];
    ++role.tensors;
    role.parameters += spec.shape.numel();
    role.bytes += checkpoint.stored_bytes(spec);
    role.forms[scheme_text(checkpoint, spec)] += spec.shape.numel();
  }
  return totals;
}

std::int64_t total_parameters(const std::map<std::string, RoleTotals>& totals) {
  std::int64_t sum = 0;
  for (const auto& [role, t] : totals) sum += t.parameters;
  return sum;
}

}  // namespace

json inspect_json(const Checkpoint& checkpoint) {
  const Architecture& a = checkpoint.architecture();
  const auto totals = totals_by_role(checkpoint);
  json out;
  out["model"] = checkpoint.folder().string();
  out["architecture"] = a.name();
  out["blocks"] = a.blocks();
  out["hidden_size"] = a.hidden_size();
  out["vocab_size"] = a.vocab_size();
  out["context_length"] = a.context_length();
  out["max_positions"] = a.max_positions() > 0 ? json(a.max_positions()) : json();
  out["tied_head"] = checkpoint.head_is_tied();
  out["parameters"] = total_parameters(totals);
  out["bytes"] = checkpoint.tensors().total_bytes();
  out["quantized"] = checkpoint.quantization().has_value();
  out["running_weight_bytes"] = running_weight_bytes(checkpoint);
  out["state_bytes_per_sequence"] = a.state_bytes(kStateTokens, kernels::KvType::kF32);
  for (const auto& [role, t] : totals) {
    out["roles"][role] = {{"tensors", t.tensors},
                          {"parameters", t.parameters},
                          {"bytes", t.bytes},
                          {"stored", t.forms}};
  }
  for (const TensorSpec& spec : a.tensors()) {
    json shape = json::array();
    for (int i = 0; i < spec.shape.rank(); ++i) shape.push_back(spec.shape[i]);
    out["tensors"].push_back({{"name", spec.name},
                              {"role", role_name(spec.role)},
                              {"shape", shape},
                              {"stored", scheme_text(checkpoint, spec)},
                              {"bytes", checkpoint.stored_bytes(spec)}});
  }
  return out;
}

std::string inspect_text(const Checkpoint& checkpoint, bool all_tensors) {
  const Architecture& a = checkpoint.architecture();
  const auto totals = totals_by_role(checkpoint);
  std::string text = fmt::format("{}\n", checkpoint.folder().string());
  text += fmt::format("  architecture   {}: {} blocks, hidden size {}, vocabulary {}, {} head\n",
                      a.name(), a.blocks(), a.hidden_size(), a.vocab_size(),
                      checkpoint.head_is_tied() ? "tied" : "separate");
  text += fmt::format("  context        {} tokens{}\n", a.context_length(),
                      a.max_positions() > 0 ? ", no more positions" : ", no limit on positions");
  text += fmt::format("  parameters     {:.2f} M\n",
                      static_cast<double>(total_parameters(totals)) / 1e6);
  text += fmt::format(
      "  weights        {} in {} file{}\n", format_bytes(checkpoint.tensors().total_bytes()),
      checkpoint.tensors().files().size(), checkpoint.tensors().files().size() == 1 ? "" : "s");
  text += fmt::format("  quantization   {}\n",
                      checkpoint.quantization() ? "compressed-tensors" : "none");
  text +=
      fmt::format("  to run         {} of weights, {} of state per sequence of {} tokens\n\n",
                  format_bytes(running_weight_bytes(checkpoint)),
                  format_bytes(a.state_bytes(kStateTokens, kernels::KvType::kF32)), kStateTokens);
  Table roles({"role", "tensors", "parameters", "bytes", "stored as"});
  for (const auto& [role, t] : totals) {
    std::string forms;
    for (const auto& [form, parameters] : t.forms) forms += (forms.empty() ? "" : "; ") + form;
    roles.add({role, std::to_string(t.tensors), std::to_string(t.parameters), format_bytes(t.bytes),
               forms});
  }
  text += roles.str();
  if (!all_tensors) return text;
  Table tensors({"tensor", "shape", "role", "bytes", "stored as"});
  for (const TensorSpec& spec : a.tensors()) {
    tensors.add({spec.name, spec.shape.str(), role_name(spec.role),
                 std::to_string(checkpoint.stored_bytes(spec)), scheme_text(checkpoint, spec)});
  }
  return text + "\n" + tensors.str();
}

}  // namespace aquatint
