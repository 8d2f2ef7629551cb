#include "models/model.h"

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "base/memory.h"
#include "base/progress.h"
#include "device/device_memory.h"
#include "kernels/sample/sample.h"
#include "models/running_bytes.h"

namespace aquatint {
namespace {

// Rows of logits made at a time, so that their memory does not grow with the step.
constexpr std::int64_t kLogitRows = 128;
// Captured steps kept: one for each set of sequences that is being decoded.
constexpr std::size_t kDecodeGraphs = 8;

void check_device_memory(const Architecture& architecture, const WeightSource& source,
                         const LoadOptions& options) {
  if (!options.device.is_cuda()) return;
  const std::int64_t needed = running_weight_bytes(architecture, source, options);
  const DeviceMemory memory = device_memory(options.device);
  std::int64_t free = memory.free_bytes + memory.cached_bytes;
  if (memory.limit_bytes > 0) free = std::min(free, memory.limit_bytes - memory.used_bytes);
  if (needed <= free) return;
  raise(ErrorKind::kOutOfMemory, "'{}': its weights need {} on '{}', of whose {} {} are free",
        source.name(), format_bytes(needed), options.device.str(), format_bytes(memory.total_bytes),
        format_bytes(free));
}

}  // namespace

std::uint64_t SequenceState::next_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::int64_t SequenceState::nbytes() const {
  std::size_t total = 0;
  for (const auto& block : blocks_) total += block->nbytes();
  return static_cast<std::int64_t>(total);
}

SequenceState SequenceState::clone() const {
  SequenceState copy;
  for (const auto& block : blocks_) copy.blocks_.push_back(block->clone());
  copy.length_ = length_;
  return copy;
}

void SequenceState::reset() {
  for (const auto& block : blocks_) block->reset();
  length_ = 0;
}

std::vector<std::pair<std::string, Tensor>> SequenceState::tensors() const {
  std::vector<std::pair<std::string, Tensor>> all;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    for (auto& [name, tensor] : blocks_[i]->tensors()) {
      all.emplace_back(fmt::format("{}.{}", i, name), tensor);
    }
  }
  return all;
}

void SequenceState::assign(const std::vector<std::pair<std::string, Tensor>>& tensors,
                           std::int64_t length) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const std::string prefix = fmt::format("{}.", i);
    std::vector<std::pair<std::string, Tensor>> mine;
    while (next < tensors.size() && tensors[next].first.starts_with(prefix)) {
      mine.emplace_back(tensors[next].first.substr(prefix.size()), tensors[next].second);
      ++next;
    }
    blocks_[i]->assign(mine);
  }
  if (next != tensors.size()) {
    raise(ErrorKind::kCorrupt, "saved state does not fit this model: '{}' is left over",
          tensors[next].first);
  }
  length_ = length;
}

Model Model::load(const Checkpoint& checkpoint, const LoadOptions& options) {
  return load(checkpoint.shared_architecture(), checkpoint, options);
}

Model Model::load(std::shared_ptr<const Architecture> shared_architecture,
                  const WeightSource& source, const LoadOptions& requested) {
  Model model;
  LoadOptions options = requested;
  model.compute_ = compute_type(source, requested);
  model.kv_cache_ = requested.kv_cache;
  options.compute = model.compute_;
  if (options.device.is_cuda() && options.execution == Execution::kSimulated) {
    raise(ErrorKind::kUnsupported, "'{}': simulated execution runs on the CPU only",
          options.device.str());
  }
  if (options.device.is_cuda() && !shared_architecture->runs_on_gpu()) {
    raise(ErrorKind::kUnsupported, "'{}': {} models run on the CPU only, not on {}", source.name(),
          shared_architecture->name(), options.device.str());
  }
  if (options.device.is_cuda() && options.kv_cache != kernels::KvType::kF32) {
    raise(ErrorKind::kUnsupported, "'{}': keys and values are cached in float32 there",
          options.device.str());
  }
  check_device_memory(*shared_architecture, source, options);
  model.workspace_ = Workspace(options.stream());
  model.choosing_ = Workspace(options.stream());
  model.architecture_ = std::move(shared_architecture);
  const Architecture& architecture = *model.architecture_;
  Progress progress("loading " + std::filesystem::path(source.name()).filename().string(), "blocks",
                    architecture.blocks());
  model.input_ = architecture.load_input(source, options);
  for (std::int64_t i = 0; i < architecture.blocks(); ++i) {
    model.blocks_.push_back(architecture.load_block(i, source, options));
    source.release(static_cast<int>(i));
    progress.advance(1);
  }
  model.output_ = architecture.load_output(source, options);
  source.release(-1);
  release_free_memory();
  return model;
}

SequenceState Model::new_state() const {
  SequenceState state;
  for (const auto& block : blocks_) state.blocks_.push_back(block->new_state());
  return state;
}

std::int64_t Model::weight_bytes() const {
  std::size_t total = input_->nbytes() + output_->nbytes();
  for (const auto& block : blocks_) total += block->nbytes();
  return static_cast<std::int64_t>(total);
}

void Model::check(std::span<const ModelInput> inputs) const {
  for (const ModelInput& input : inputs) {
    for (const std::int32_t token : input.tokens) {
      if (token < 0 || token >= vocab_size()) {
        raise(ErrorKind::kInvalidArgument, "token {} is outside the model's vocabulary of {}",
              token, vocab_size());
      }
    }
    const std::int64_t end = input.state->length() + static_cast<std::int64_t>(input.tokens.size());
    const std::int64_t limit = architecture_->max_positions();
    if (limit > 0 && end > limit) {
      raise(ErrorKind::kInvalidArgument, "a sequence of {} tokens; the model has {} positions", end,
            limit);
    }
  }
}

void Model::run(std::span<const ModelInput> inputs, LogitsFor wanted, const LogitsSink& sink) {
  if (wanted == LogitsFor::kNone) {
    run_steps(inputs, wanted, [](std::span<const LogitRows>, float*) {});
    return;
  }
  run_steps(inputs, wanted, [&](std::span<const LogitRows> rows, const float* logits) {
    std::int64_t n = 0;
    for (const LogitRows& run : rows) n += run.tokens;
    const auto bytes = static_cast<std::size_t>(n * vocab_size()) * sizeof(float);
    const auto* at = static_cast<const float*>(to_host(logits, bytes));
    for (const LogitRows& run : rows) {
      sink(run.sequence, run.first, run.tokens, at);
      at += run.tokens * vocab_size();
    }
  });
}

std::vector<std::int32_t> Model::next_tokens(std::span<const ModelInput> inputs,
                                             std::span<const TokenChoice> choices,
                                             std::int64_t allowed) {
  AQUATINT_ASSERT(choices.size() == inputs.size());
  std::vector<std::int32_t> tokens(inputs.size());
  run_steps(inputs, LogitsFor::kLastToken, [&](std::span<const LogitRows> rows, float* logits) {
    choose(rows, logits, choices, allowed, tokens);
  });
  return tokens;
}

// One token for each of the rows, to the place of its sequence in `tokens`.
void Model::choose(std::span<const LogitRows> rows, float* logits,
                   std::span<const TokenChoice> choices, std::int64_t allowed,
                   std::vector<std::int32_t>& tokens) {
  const Workspace::Scope scope(choosing_);
  Stream& stream = choosing_.stream();
  std::vector<kernels::SampleRow> how;
  std::vector<std::int32_t> seen;
  for (const LogitRows& row : rows) {
    const TokenChoice& choice = choices[row.sequence];
    how.push_back(choice.how);
    how.back().first_seen = static_cast<std::int64_t>(seen.size());
    how.back().seen = static_cast<std::int64_t>(choice.seen.size());
    seen.insert(seen.end(), choice.seen.begin(), choice.seen.end());
  }
  const auto n = static_cast<std::int64_t>(how.size());
  auto* device_how = choosing_.take<kernels::SampleRow>(n);
  auto* device_seen = choosing_.take<std::int32_t>(static_cast<std::int64_t>(seen.size()));
  auto* chosen = choosing_.take<std::int32_t>(n);
  stream.copy(device_how, how.data(), how.size() * sizeof(how[0]));
  stream.copy(device_seen, seen.data(), seen.size() * sizeof(seen[0]));
  kernels::sample(stream, logits, n, vocab_size(), std::min(allowed, vocab_size()), device_how,
                  device_seen, chosen);
  const auto* at = static_cast<const std::int32_t*>(to_host(chosen, how.size() * sizeof(*chosen)));
  for (const LogitRows& row : rows) {
    if (*at == kernels::kNoToken) raise(ErrorKind::kNumeric, "the model's logits hold NaN");
    tokens[row.sequence] = *at++;
  }
}

void Model::run_steps(std::span<const ModelInput> inputs, LogitsFor wanted, const RowsSink& sink) {
  check(inputs);
  if (decode_by_graph(inputs, sink)) return;
  std::vector<std::int64_t> done(inputs.size(), 0);
  while (true) {
    std::vector<StepPart> parts;
    std::int64_t live = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      live += done[i] < static_cast<std::int64_t>(inputs[i].tokens.size()) ? 1 : 0;
    }
    if (live == 0) return;
    std::int64_t room = step_rows();
    for (std::size_t i = 0; i < inputs.size() && room > 0; ++i) {
      const std::int64_t left = static_cast<std::int64_t>(inputs[i].tokens.size()) - done[i];
      if (left == 0) continue;
      const std::int64_t n = std::min({left, room, std::max<std::int64_t>(1, step_rows() / live)});
      parts.push_back({i, done[i], n});
      done[i] += n;
      room -= n;
    }
    step(inputs, parts, wanted, sink);
  }
}

bool Model::is_end(std::span<const ModelInput> inputs, const StepPart& part) {
  const auto total = static_cast<std::int64_t>(inputs[part.sequence].tokens.size());
  return part.first + part.tokens == total;
}

void Model::step(std::span<const ModelInput> inputs, const std::vector<StepPart>& parts,
                 LogitsFor wanted, const RowsSink& sink) {
  const Workspace::Scope scope(workspace_);
  ForwardContext context{workspace_, taps_};
  std::vector<std::int32_t> host_ids;
  std::vector<std::int64_t> last_rows;  // of sequences that end in this step
  for (const StepPart& part : parts) {
    const auto tokens = inputs[part.sequence].tokens.subspan(static_cast<std::size_t>(part.first),
                                                             static_cast<std::size_t>(part.tokens));
    host_ids.insert(host_ids.end(), tokens.begin(), tokens.end());
    if (is_end(inputs, part)) {
      last_rows.push_back(static_cast<std::int64_t>(host_ids.size()) - 1);
    }
  }
  if (wanted == LogitsFor::kNone) last_rows.clear();
  auto* ids = workspace_.take<std::int32_t>(static_cast<std::int64_t>(host_ids.size()));
  context.stream().copy(ids, host_ids.data(), host_ids.size() * sizeof(std::int32_t));
  std::optional<std::span<const std::int64_t>> kept;
  // On a GPU rows would be moved one by one, and whether that gains was not measured.
  const bool few_rows = wanted != LogitsFor::kEveryToken && !device().is_cuda();
  if (few_rows && taps_ == nullptr) kept = last_rows;
  const float* normed = run_blocks(context, inputs, parts, ids, kept);
  for (const StepPart& part : parts) inputs[part.sequence].state->length_ += part.tokens;
  if (wanted == LogitsFor::kNone) return;
  emit_logits(context, inputs, parts, {normed, kept.has_value()}, wanted, sink);
}

// Token ids to hidden values after the last normalization, in the workspace: [rows, hidden size],
// of all rows or of those that are kept.
const float* Model::run_blocks(ForwardContext& context, std::span<const ModelInput> inputs,
                               const std::vector<StepPart>& parts, const std::int32_t* ids,
                               std::optional<std::span<const std::int64_t>> kept) {
  const std::int64_t hidden_size = architecture_->hidden_size();
  std::vector<Segment> segments;
  std::int64_t rows = 0;
  for (const StepPart& part : parts) {
    segments.push_back({rows, part.tokens, inputs[part.sequence].state->length_, nullptr});
    rows += part.tokens;
  }
  float* hidden = workspace_.take<float>(rows * hidden_size);
  input_->forward(context, segments, ids, rows, hidden);
  context.tap("hidden.", "0", hidden, rows, hidden_size);
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      segments[p].state = inputs[parts[p].sequence].state->blocks_[b].get();
    }
    const bool last = b + 1 == blocks_.size();
    blocks_[b]->forward(context, segments, rows, hidden, last ? kept : std::nullopt);
    if (taps_ != nullptr && !last) {
      context.tap("hidden.", std::to_string(b + 1).c_str(), hidden, rows, hidden_size);
    }
  }
  if (kept) rows = static_cast<std::int64_t>(kept->size());
  if (rows == 0) return hidden;
  // As in the Python implementations, the last hidden values are those after the final
  // normalization.
  float* normed = workspace_.take<float>(rows * hidden_size);
  output_->normalize(context, hidden, rows, normed);
  if (taps_ != nullptr) {
    context.tap("hidden.", std::to_string(blocks_.size()).c_str(), normed, rows, hidden_size);
  }
  return normed;
}

// The values where the host can read them, until the next call; checks that all inputs of products
// were finite.
const void* Model::to_host(const void* values, std::size_t bytes) {
  Stream& stream = workspace_.stream();
  if (!stream.is_cuda()) return values;
  if (bytes > host_bytes_) {
    host_buffer_ = allocate_pinned(bytes);
    host_bytes_ = bytes;
  }
  stream.copy(host_buffer_.get(), values, bytes);
  stream.check_finite();
  return host_buffer_.get();
}

// On a GPU, steps of one token each are captured the second time the same sequences take one, and
// from then on run without being prepared again. False when this is no such step.
bool Model::decode_by_graph(std::span<const ModelInput> inputs, const RowsSink& sink) {
  Stream& stream = workspace_.stream();
  if (!stream.is_cuda() || taps_ != nullptr) return false;
  std::vector<std::uint64_t> states;
  std::vector<std::int32_t> ids;
  for (const ModelInput& input : inputs) {
    if (input.tokens.size() != 1) return false;
    states.push_back(input.state->id_);
    ids.push_back(input.tokens.front());
  }
  if (std::any_of(blocks_.begin(), blocks_.end(),
                  [](const auto& block) { return !block->steps_are_alike(); })) {
    return false;
  }
  const auto found = std::find_if(graphs_.begin(), graphs_.end(),
                                  [&](const DecodeGraph& g) { return g.states == states; });
  if (found == graphs_.end()) {
    if (graphs_.size() == kDecodeGraphs) graphs_.erase(graphs_.begin());
    graphs_.push_back({});
    graphs_.back().states = std::move(states);
    return false;
  }
  if (found->graph == nullptr) *found = capture(inputs, std::move(states));
  stream.copy(found->ids, ids.data(), ids.size() * sizeof(std::int32_t));
  stream.run(*found->graph);
  std::vector<LogitRows> rows;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ++inputs[i].state->length_;
    rows.push_back({i, 0, 1});
  }
  sink(rows, found->logits);
  return true;
}

Model::DecodeGraph Model::capture(std::span<const ModelInput> inputs,
                                  std::vector<std::uint64_t> states) {
  const Workspace::Scope scope(workspace_);
  ForwardContext context{workspace_, nullptr};
  const auto rows = static_cast<std::int64_t>(inputs.size());
  std::vector<StepPart> parts;
  for (std::size_t i = 0; i < inputs.size(); ++i) parts.push_back({i, 0, 1});
  DecodeGraph result;
  result.states = std::move(states);
  result.ids = workspace_.take<std::int32_t>(rows);
  result.logits = workspace_.take<float>(rows * vocab_size());
  context.stream().begin_capture();
  try {
    const float* normed = run_blocks(context, inputs, parts, result.ids, std::nullopt);
    output_->logits(context, normed, rows, result.logits);
  } catch (...) {
    context.stream().end_capture();  // what there is of it is dropped, and the stream runs again
    throw;
  }
  result.graph = context.stream().end_capture();
  return result;
}

// Rows whose logits are wanted are gathered, so that sequences that decode one token each share one
// product, and multiplied kLogitRows at a time.
void Model::emit_logits(ForwardContext& context, std::span<const ModelInput> inputs,
                        const std::vector<StepPart>& parts, Normed normed, LogitsFor wanted,
                        const RowsSink& sink) {
  std::vector<LogitRows> runs;
  std::vector<std::int64_t> first_rows;  // of the normed values, for each of the runs
  std::int64_t row = 0, wanted_rows = 0;
  for (const StepPart& part : parts) {
    const auto total = static_cast<std::int64_t>(inputs[part.sequence].tokens.size());
    LogitRows run = part;
    std::int64_t from = row;
    if (wanted == LogitsFor::kLastToken) {
      run = {part.sequence, total - 1, is_end(inputs, part) ? 1 : 0};
      from = normed.only_last ? wanted_rows : row + part.tokens - 1;
    }
    for (std::int64_t t = 0; t < run.tokens; t += kLogitRows) {
      runs.push_back({run.sequence, run.first + t, std::min(kLogitRows, run.tokens - t)});
      first_rows.push_back(from + t);
    }
    wanted_rows += run.tokens;
    row += part.tokens;
  }
  if (runs.empty()) return;

  const Workspace::Scope scope(workspace_);
  const std::int64_t hidden_size = architecture_->hidden_size();
  const std::int64_t block = std::min(kLogitRows, wanted_rows);
  float* gathered = workspace_.take<float>(block * hidden_size);
  float* logits = workspace_.take<float>(block * vocab_size());
  for (std::size_t begin = 0; begin < runs.size();) {
    std::size_t end = begin;
    std::int64_t n = 0;
    for (; end < runs.size() && n + runs[end].tokens <= block; ++end) {
      const auto bytes = static_cast<std::size_t>(runs[end].tokens * hidden_size) * sizeof(float);
      context.stream().copy(gathered + n * hidden_size,
                            normed.values + first_rows[end] * hidden_size, bytes);
      n += runs[end].tokens;
    }
    output_->logits(context, gathered, n, logits);
    sink(std::span(runs).subspan(begin, end - begin), logits);
    begin = end;
  }
}

std::span<const float> Model::run(std::span<const std::int32_t> tokens, SequenceState& state) {
  AQUATINT_ASSERT(!tokens.empty());
  const ModelInput input{tokens, &state};
  run(std::span<const ModelInput>(&input, 1), LogitsFor::kLastToken,
      [&](std::size_t, std::int64_t, std::int64_t, const float* logits) {
        last_logits_.assign(logits, logits + vocab_size());
      });
  return last_logits_;
}

}  // namespace aquatint
