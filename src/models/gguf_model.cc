#include "models/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/printable.h"

namespace aquatint {

// One row of the table of names; '#' stands for the number of a block.
struct GgufNaming {
  using Form = GgufTensors::Form;
  struct Row {
    const char* stored;
    const char* name;
    Form form = Form::kSame;
  };
  struct Table {
    const char* architecture;
    std::vector<Row> rows;
  };

  static const std::vector<Table>& tables();
  static const Table& table_of(const GgufMetadata& metadata);
  static const Row* find(const Table& table, const std::string& pattern);
};

namespace {

using Row = GgufNaming::Row;
using Form = GgufNaming::Form;

// Llama's and those like it; `queries` and `keys` say in which form rows of rotary heads are.
std::vector<Row> llama_rows(Form queries, Form keys) {
  return {
      {"token_embd.weight", "model.embed_tokens.weight"},
      {"output_norm.weight", "model.norm.weight"},
      {"output.weight", "lm_head.weight"},
      {"blk.#.attn_norm.weight", "model.layers.#.input_layernorm.weight"},
      {"blk.#.attn_q.weight", "model.layers.#.self_attn.q_proj.weight", queries},
      {"blk.#.attn_q.bias", "model.layers.#.self_attn.q_proj.bias", queries},
      {"blk.#.attn_k.weight", "model.layers.#.self_attn.k_proj.weight", keys},
      {"blk.#.attn_k.bias", "model.layers.#.self_attn.k_proj.bias", keys},
      {"blk.#.attn_v.weight", "model.layers.#.self_attn.v_proj.weight"},
      {"blk.#.attn_v.bias", "model.layers.#.self_attn.v_proj.bias"},
      {"blk.#.attn_output.weight", "model.layers.#.self_attn.o_proj.weight"},
      {"blk.#.attn_output.bias", "model.layers.#.self_attn.o_proj.bias"},
      {"blk.#.ffn_norm.weight", "model.layers.#.post_attention_layernorm.weight"},
      {"blk.#.ffn_gate.weight", "model.layers.#.mlp.gate_proj.weight"},
      {"blk.#.ffn_gate.bias", "model.layers.#.mlp.gate_proj.bias"},
      {"blk.#.ffn_up.weight", "model.layers.#.mlp.up_proj.weight"},
      {"blk.#.ffn_up.bias", "model.layers.#.mlp.up_proj.bias"},
      {"blk.#.ffn_down.weight", "model.layers.#.mlp.down_proj.weight"},
      {"blk.#.ffn_down.bias", "model.layers.#.mlp.down_proj.bias"},
      {"rope_freqs.weight", ""},  // goes into the configuration
  };
}

std::vector<Row> gpt2_rows() {
  return {
      {"token_embd.weight", "transformer.wte.weight"},
      {"position_embd.weight", "transformer.wpe.weight"},
      {"output_norm.weight", "transformer.ln_f.weight"},
      {"output_norm.bias", "transformer.ln_f.bias"},
      {"output.weight", "lm_head.weight"},
      {"blk.#.attn_norm.weight", "transformer.h.#.ln_1.weight"},
      {"blk.#.attn_norm.bias", "transformer.h.#.ln_1.bias"},
      {"blk.#.attn_qkv.weight", "transformer.h.#.attn.c_attn.weight", Form::kTransposed},
      {"blk.#.attn_qkv.bias", "transformer.h.#.attn.c_attn.bias"},
      {"blk.#.attn_output.weight", "transformer.h.#.attn.c_proj.weight", Form::kTransposed},
      {"blk.#.attn_output.bias", "transformer.h.#.attn.c_proj.bias"},
      {"blk.#.ffn_norm.weight", "transformer.h.#.ln_2.weight"},
      {"blk.#.ffn_norm.bias", "transformer.h.#.ln_2.bias"},
      {"blk.#.ffn_up.weight", "transformer.h.#.mlp.c_fc.weight", Form::kTransposed},
      {"blk.#.ffn_up.bias", "transformer.h.#.mlp.c_fc.bias"},
      {"blk.#.ffn_down.weight", "transformer.h.#.mlp.c_proj.weight", Form::kTransposed},
      {"blk.#.ffn_down.bias", "transformer.h.#.mlp.c_proj.bias"},
  };
}

// What Mamba and Mamba-2 share; `decays` and `skips` say in which form A and D are.
std::vector<Row> state_space_rows(Form decays, Form skips) {
  return {
      {"token_embd.weight", "backbone.embeddings.weight"},
      {"output_norm.weight", "backbone.norm_f.weight"},
      {"output.weight", "lm_head.weight"},
      {"blk.#.attn_norm.weight", "backbone.layers.#.norm.weight"},
      {"blk.#.ssm_in.weight", "backbone.layers.#.mixer.in_proj.weight"},
      {"blk.#.ssm_in.bias", "backbone.layers.#.mixer.in_proj.bias"},
      {"blk.#.ssm_conv1d.weight", "backbone.layers.#.mixer.conv1d.weight", Form::kConvolution},
      {"blk.#.ssm_conv1d.bias", "backbone.layers.#.mixer.conv1d.bias"},
      {"blk.#.ssm_a", "backbone.layers.#.mixer.A_log", decays},
      {"blk.#.ssm_d", "backbone.layers.#.mixer.D", skips},
      {"blk.#.ssm_out.weight", "backbone.layers.#.mixer.out_proj.weight"},
      {"blk.#.ssm_out.bias", "backbone.layers.#.mixer.out_proj.bias"},
  };
}

std::vector<Row> mamba_rows() {
  std::vector<Row> rows = state_space_rows(Form::kLogDecay, Form::kSame);
  rows.push_back({"blk.#.ssm_x.weight", "backbone.layers.#.mixer.x_proj.weight"});
  rows.push_back({"blk.#.ssm_dt.weight", "backbone.layers.#.mixer.dt_proj.weight"});
  rows.push_back({"blk.#.ssm_dt.bias", "backbone.layers.#.mixer.dt_proj.bias"});
  return rows;
}

std::vector<Row> mamba2_rows() {
  std::vector<Row> rows = state_space_rows(Form::kLogDecayColumn, Form::kColumn);
  rows.push_back({"blk.#.ssm_dt.bias", "backbone.layers.#.mixer.dt_bias"});
  rows.push_back({"blk.#.ssm_norm.weight", "backbone.layers.#.mixer.norm.weight", Form::kFlat});
  return rows;
}

// "blk.12.attn_q.weight" -> "blk.#.attn_q.weight" and "12"; any other name and "".
std::pair<std::string, std::string> split_block(const std::string& name) {
  constexpr std::string_view kPrefix = "blk.";
  const std::size_t end = name.find('.', kPrefix.size());
  if (!name.starts_with(kPrefix) || end == std::string::npos) return {name, ""};
  const std::string number = name.substr(kPrefix.size(), end - kPrefix.size());
  const bool digits = !number.empty() && std::all_of(number.begin(), number.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) return {name, ""};
  return {std::string(kPrefix) + "#" + name.substr(end), number};
}

// The rows of each head that hold a pair of rotated values are side by side in the file, and in two
// halves of the head in Hugging Face's models.
Tensor unpair_rows(const Tensor& stored, std::int64_t heads, const std::string& name) {
  const std::int64_t rows = stored.shape().rank() == 0 ? 0 : stored.dim(0);
  if (rows == 0 || rows % (2 * heads) != 0) {
    raise(ErrorKind::kCorrupt, "tensor '{}' {} does not have rows for {} rotary heads",
          printable(name), stored.shape().str(), heads);
  }
  const Tensor out = Tensor::empty(stored.shape(), stored.dtype());
  const std::size_t row = stored.nbytes() / static_cast<std::size_t>(rows);
  const std::int64_t head_dim = rows / heads, half = head_dim / 2;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t in_head = r % head_dim;
    const std::int64_t from = r - in_head + 2 * (in_head % half) + in_head / half;
    std::memcpy(out.mutable_bytes() + static_cast<std::size_t>(r) * row,
                stored.bytes() + static_cast<std::size_t>(from) * row, row);
  }
  return out;
}

bool is_decay(Form form) {
  return form == Form::kLogDecay || form == Form::kLogDecayColumn;
}

Tensor log_decays(const Tensor& stored, const Shape& shape, const std::string& name) {
  const Tensor out = stored.to_f32().reshape(shape);
  auto* values = out.mutable_data<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    if (!(values[i] < 0)) {
      raise(ErrorKind::kCorrupt, "tensor '{}' holds {}; decays are negative", printable(name),
            values[i]);
    }
    values[i] = static_cast<float>(std::log(-static_cast<double>(values[i])));
  }
  return out;
}

}  // namespace

const std::vector<GgufNaming::Table>& GgufNaming::tables() {
  static const std::vector<Table> all = {
      {"llama", llama_rows(Form::kQueryRows, Form::kKeyRows)},
      {"minicpm", llama_rows(Form::kQueryRows, Form::kKeyRows)},
      {"qwen2", llama_rows(Form::kSame, Form::kSame)},
      {"gpt2", gpt2_rows()},
      {"mamba", mamba_rows()},
      {"mamba2", mamba2_rows()},
  };
  return all;
}

const GgufNaming::Table& GgufNaming::table_of(const GgufMetadata& metadata) {
  const std::string architecture = metadata.get_string("general.architecture");
  std::string supported;
  for (const Table& table : tables()) {
    if (architecture == table.architecture) return table;
    supported += (supported.empty() ? "" : ", ") + std::string(table.architecture);
  }
  raise(ErrorKind::kUnsupported,
        "'{}': general.architecture '{}' is not supported in GGUF files (supported: {})",
        metadata.origin(), printable(architecture), supported);
}

const GgufNaming::Row* GgufNaming::find(const Table& table, const std::string& pattern) {
  const auto row = std::find_if(table.rows.begin(), table.rows.end(),
                                [&](const Row& r) { return pattern == r.stored; });
  return row == table.rows.end() ? nullptr : &*row;
}

GgufTensors::GgufTensors(std::shared_ptr<const GgufFile> file) : file_(std::move(file)) {
  const GgufNaming::Table& table = GgufNaming::table_of(file_->metadata());
  architecture_ = table.architecture;
  files_ = file_->files();
  for (const auto& [stored, entry] : file_->entries()) {
    const auto [pattern, block] = split_block(stored);
    const GgufNaming::Row* row = GgufNaming::find(table, pattern);
    if (row == nullptr) {
      add(stored, {stored}, entry);
      continue;
    }
    std::string name = row->name;
    if (name.empty()) continue;
    if (const std::size_t mark = name.find('#'); mark != std::string::npos) {
      name.replace(mark, 1, block);
    }
    add(name, {stored, row->form}, entry);
  }
}

void GgufTensors::add(const std::string& name, Source source, const TensorEntry& stored) {
  TensorEntry entry = stored;
  std::vector<std::int64_t>& shape = entry.shape;
  const bool matrix = shape.size() == 2;
  switch (source.form) {
    case Form::kTransposed:
      std::reverse(shape.begin(), shape.end());
      break;
    case Form::kConvolution:
      if (matrix) shape.insert(shape.begin() + 1, 1);
      break;
    case Form::kFlat:
      if (matrix) shape = {shape[0] * shape[1]};
      break;
    case Form::kColumn:
    case Form::kLogDecayColumn:
      if (matrix && shape[1] == 1) shape.pop_back();
      break;
    default:
      break;
  }
  entries_.emplace(name, std::move(entry));
  sources_.emplace(name, std::move(source));
}

std::int64_t GgufTensors::heads_of(Form form) const {
  const GgufMetadata& m = file_->metadata();
  const std::int64_t heads = m.get_int(architecture_ + ".attention.head_count");
  const std::int64_t used =
      form == Form::kQueryRows
          ? heads
          : m.find_int(architecture_ + ".attention.head_count_kv").value_or(heads);
  if (used < 1 || used > (1 << 20)) {
    raise(ErrorKind::kCorrupt, "'{}': {} attention heads", m.origin(), used);
  }
  return used;
}

DType GgufTensors::dtype(const std::string& name) const {
  entry(name);
  const Source& source = sources_.at(name);
  const DType stored = file_->dtype(source.stored);
  return is_decay(source.form) ? DType::kF32 : stored;
}

Tensor GgufTensors::tensor(const std::string& name) const {
  const Shape shape = shape_of(name);
  const Source& source = sources_.at(name);
  const Tensor stored = file_->tensor(source.stored);
  switch (source.form) {
    case Form::kSame:
      return stored;
    case Form::kConvolution:
    case Form::kFlat:
    case Form::kColumn:
      return stored.reshape(shape);
    case Form::kTransposed:
      return stored.shape().rank() == 2 ? stored.transposed() : stored;
    case Form::kQueryRows:
    case Form::kKeyRows:
      return unpair_rows(stored, heads_of(source.form), name);
    case Form::kLogDecay:
    case Form::kLogDecayColumn:
      return log_decays(stored, shape, source.stored);
  }
  return stored;
}

}  // namespace aquatint
