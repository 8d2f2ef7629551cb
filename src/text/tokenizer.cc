#include "text/tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/json_fields.h"
#include "text/tokenizer_impl.h"

namespace aquatint {

using nlohmann::json;
using text::field;
using text::WordUnit;

namespace {

const json& checked_document(const json& spec, const std::string& where) {
  const auto version = text::optional_string(spec, "version", where);
  if (version && *version != "1.0") {
    raise(ErrorKind::kUnsupported, "{}: version '{}' is not supported, only '1.0' is", where,
          *version);
  }
  text::object_field(spec, "model", where);
  return spec;
}

// A token named in tokenizer_config.json: a string, or an object with the string in it.
std::optional<std::string> token_name(const json& config, const char* key,
                                      const std::string& where) {
  const json& value = field(config, key, where);
  if (value.is_object()) return text::optional_string(value, "content", where + ": " + key);
  return text::optional_string(config, key, where);
}

}  // namespace

Tokenizer::Impl::Impl(const json& spec, const std::string& where)
    : normalizer(text::Normalizer::parse(field(checked_document(spec, where), "normalizer", where),
                                         where + ": normalizer")),
      pre_tokenizer(text::PreTokenizer::parse(field(spec, "pre_tokenizer", where),
                                              where + ": pre_tokenizer")),
      bpe(text::Bpe::parse(field(spec, "model", where),
                           pre_tokenizer.yields_bytes() ? WordUnit::kBytes : WordUnit::kCharacters,
                           where + ": model")),
      added(field(spec, "added_tokens", where), bpe.vocabulary(), normalizer,
            where + ": added_tokens"),
      post_processor(text::PostProcessor::parse(field(spec, "post_processor", where),
                                                where + ": post_processor")),
      decoder(text::Decoder::parse(field(spec, "decoder", where), where + ": decoder")),
      bos(first_known({"<s>", "<|begin_of_text|>", "<bos>", "<|endoftext|>"})),
      eos(first_known({"</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>"})) {}

std::optional<TokenId> Tokenizer::Impl::first_known(
    std::initializer_list<const char*> names) const {
  for (const char* name : names) {
    if (const auto id = id_of(name)) return id;
  }
  return std::nullopt;
}

std::optional<TokenId> Tokenizer::Impl::id_of(std::string_view token) const {
  const auto id = added.id(token);
  return id ? id : bpe.vocabulary().id(token);
}

void Tokenizer::Impl::apply_config(const json& config, const std::string& where) {
  const auto resolve = [&](const char* key, std::optional<TokenId>& id) {
    if (!config.is_object() || !config.contains(key)) return;
    const auto name = token_name(config, key, where);
    id = name ? id_of(*name) : std::nullopt;
    if (name && !id) {
      raise(ErrorKind::kCorrupt, "{}: {} '{}' is not a token of this tokenizer", where, key, *name);
    }
  };
  resolve("bos_token", bos);
  resolve("eos_token", eos);
  const std::string type = text::optional_string(config, "tokenizer_class", where).value_or("");
  if (type != "LlamaTokenizer" && type != "LlamaTokenizerFast") return;
  const bool add_bos = text::bool_field(config, "add_bos_token", true, where);
  const bool add_eos = text::bool_field(config, "add_eos_token", false, where);
  if ((add_bos && !bos) || (add_eos && !eos)) {
    raise(ErrorKind::kCorrupt, "{}: {} is set but there is no {}", where,
          add_bos && !bos ? "add_bos_token" : "add_eos_token",
          add_bos && !bos ? "bos_token" : "eos_token");
  }
  post_processor =
      text::PostProcessor::around(add_bos ? bos : std::nullopt, add_eos ? eos : std::nullopt);
}

const std::string* Tokenizer::Impl::decoded_token(TokenId id, bool skip_special_tokens) const {
  const text::AddedToken* token = added.find(id);
  if (token == nullptr) return bpe.vocabulary().token(id);
  const bool skip = skip_special_tokens && added.is_special_content(token->content);
  return skip ? nullptr : &token->content;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, const std::string& origin) {
  const json spec = text::parse_json(tokenizer_json, origin);
  return Tokenizer(std::make_unique<Impl>(spec, origin));
}

Tokenizer Tokenizer::parse(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                           const std::string& origin) {
  Tokenizer tokenizer = parse(tokenizer_json, origin);
  tokenizer.impl_->apply_config(text::parse_json(tokenizer_config_json, origin), origin);
  return tokenizer;
}

Tokenizer Tokenizer::open(const std::filesystem::path& model_folder) {
  const std::filesystem::path path = model_folder / "tokenizer.json";
  Tokenizer tokenizer = parse(read_text_file(path), path.string());
  const std::filesystem::path config_path = model_folder / "tokenizer_config.json";
  if (std::filesystem::exists(config_path)) {
    const std::string where = config_path.string();
    tokenizer.impl_->apply_config(text::parse_json(read_text_file(config_path), where), where);
  }
  return tokenizer;
}

std::vector<TokenId> Tokenizer::encode(std::string_view input, bool add_special_tokens) const {
  std::vector<TokenId> ids;
  ids.reserve(input.size() / 4 + 2);
  for (const auto& item : impl_->post_processor.items()) {
    if (!item) {
      impl_->encode_text(input, ids);
    } else if (add_special_tokens) {
      ids.push_back(*item);
    }
  }
  return ids;
}

Encoding Tokenizer::encode_with_offsets(std::string_view input, bool add_special_tokens) const {
  const Encoding encoded = impl_->encode_text_with_offsets(input);
  Encoding out;
  for (const auto& item : impl_->post_processor.items()) {
    if (!item) {
      out.ids.insert(out.ids.end(), encoded.ids.begin(), encoded.ids.end());
      out.offsets.insert(out.offsets.end(), encoded.offsets.begin(), encoded.offsets.end());
    } else if (add_special_tokens) {
      out.ids.push_back(*item);
      out.offsets.emplace_back(0, 0);
    }
  }
  return out;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  text::DecodeRun run = impl_->decoder.start();
  for (const TokenId id : ids) {
    const std::string* token = impl_->decoded_token(id, skip_special_tokens);
    if (token != nullptr) run.token(*token);
  }
  run.finish();
  return run.take();
}

std::int64_t Tokenizer::vocab_size() const {
  return std::int64_t{std::max(impl_->bpe.vocabulary().max_id(), impl_->added.max_id())} + 1;
}

std::optional<TokenId> Tokenizer::token_to_id(std::string_view token) const {
  return impl_->id_of(token);
}

std::optional<std::string> Tokenizer::id_to_token(TokenId id) const {
  const std::string* token = impl_->decoded_token(id, false);
  return token == nullptr ? std::nullopt : std::optional(*token);
}

bool Tokenizer::is_special(TokenId id) const {
  const text::AddedToken* token = impl_->added.find(id);
  return token != nullptr && token->special;
}

std::optional<TokenId> Tokenizer::bos_id() const {
  return impl_->bos;
}
std::optional<TokenId> Tokenizer::eos_id() const {
  return impl_->eos;
}

bool Tokenizer::adds_bos() const {
  const auto& items = impl_->post_processor.items();
  return !items.empty() && items.front() && items.front() == impl_->bos;
}

struct StreamDecoder::Run {
  text::DecodeRun decode;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(TokenId id) {
  const Tokenizer::Impl& impl = *tokenizer_->impl_;
  if (run_ == nullptr) run_ = std::make_unique<Run>(Run{impl.decoder.start()});
  const std::string* token = impl.decoded_token(id, skip_special_tokens_);
  if (token == nullptr) return {};
  run_->decode.token(*token);
  return run_->decode.take();
}

std::string StreamDecoder::finish() {
  if (run_ == nullptr) return tokenizer_->decode({}, skip_special_tokens_);
  const std::unique_ptr<Run> run = std::move(run_);
  run->decode.finish();
  return run->decode.take();
}

}  // namespace aquatint
