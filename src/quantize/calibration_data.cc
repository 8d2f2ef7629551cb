#include "quantize/calibration_data.h"

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "quantize/calibration_text.h"
#include "quantize/sample_text.h"

namespace aquatint {
namespace {

constexpr std::array kJoins = {
    std::pair{CalibrationJoin::kConcatenate, "concatenate"},
    std::pair{CalibrationJoin::kTruncate, "truncate"},
};
constexpr const char* kSeparator = "\n\n";

void check_options(const CalibrationDataOptions& options, std::int64_t max_positions) {
  const auto refuse = [](const std::string& message) {
    throw Error(ErrorKind::kInvalidArgument, "calibration: " + message);
  };
  if (options.samples < 1) refuse(fmt::format("{} sequences are too few", options.samples));
  if (options.length < 2) {
    refuse(fmt::format("a length of {} tokens is too short", options.length));
  }
  if (options.min_length > options.length) {
    refuse(fmt::format("the minimum length of {} tokens is more than the length of {}",
                       options.min_length, options.length));
  }
  if (max_positions > 0 && options.length > max_positions) {
    refuse(fmt::format("sequences of {} tokens; the model has {} positions", options.length,
                       max_positions));
  }
}

std::filesystem::path file_of(const CalibrationSet& set, const std::filesystem::path& folder) {
  if (folder.empty()) {
    raise(ErrorKind::kInvalidArgument, "calibration on '{}' needs the folder with '{}'", set.name,
          set.data_file);
  }
  std::filesystem::path file = folder / set.data_file;
  if (!std::filesystem::exists(file)) {
    raise(ErrorKind::kNotFound, "calibration on '{}' reads '{}', which is not there", set.name,
          file.string());
  }
  return file;
}

std::vector<std::string> read_documents(const CalibrationDataOptions& options,
                                        CalibrationData& data) {
  if (options.source.empty()) {
    data.name = "the built-in sample";
    return {std::string(sample_text())};
  }
  const CalibrationSet* set = find_calibration_set(options.source);
  const std::filesystem::path file =
      set != nullptr ? file_of(*set, options.data_folder) : std::filesystem::path(options.source);
  data.name = set != nullptr ? set->name : file.filename().string();
  if (const CalibrationSet* test = calibration_set_of_file(file)) {
    data.warning = fmt::format(
        "'{}' is the test set of task {}; results on that task will look better than they are",
        file.string(), test->name);
    log(LogLevel::kWarning, "calibration: {}", data.warning);
  }
  return set != nullptr ? set->read(file) : read_calibration_file(file, options.key);
}

// The same order everywhere, which the library's shuffle does not promise.
void shuffle(std::vector<std::string>& documents, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (std::size_t i = documents.size(); i > 1; --i) {
    std::swap(documents[i - 1], documents[random() % i]);
  }
}

// At most `wanted` tokens from the beginning of a text. Of a long one only as much is tokenized as
// is needed, and some more, as the end of a part may be tokenized otherwise than in the whole.
std::vector<TokenId> first_tokens(const Tokenizer& tokenizer, std::string_view text,
                                  std::size_t wanted) {
  constexpr std::size_t kSpare = 64;
  for (std::size_t bytes = 8 * (wanted + kSpare);; bytes *= 2) {
    while (bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xC0u) == 0x80u) {
      ++bytes;
    }
    std::vector<TokenId> ids = tokenizer.encode(text.substr(0, bytes), false);
    if (bytes < text.size() && ids.size() < wanted + kSpare) continue;
    ids.resize(std::min(ids.size(), wanted));
    return ids;
  }
}

// Makes sequences of texts, until there are enough.
class Cutter {
 public:
  Cutter(const CalibrationDataOptions& options, const Tokenizer& tokenizer, CalibrationData& data)
      : options_(options),
        tokenizer_(tokenizer),
        data_(data),
        bos_(bos_by_policy(tokenizer, options.bos)),
        body_(static_cast<std::size_t>(options.length) - (bos_ ? 1 : 0)) {}

  void truncate(const std::vector<std::string>& documents) {
    for (const std::string& document : documents) {
      if (missing() == 0) return;
      ++data_.documents;
      const auto ids = first_tokens(tokenizer_, document, body_);
      if (!add(ids)) ++data_.skipped;
    }
  }

  void concatenate(const std::vector<std::string>& documents) {
    std::vector<TokenId> joined;
    for (const std::string& document : documents) {
      if (missing() == 0) return;
      ++data_.documents;
      if (document.empty()) {
        ++data_.skipped;
        continue;
      }
      const std::size_t wanted = missing() * body_ - joined.size();
      const bool last = &document == &documents.back();
      const auto ids = first_tokens(tokenizer_, last ? document : document + kSeparator, wanted);
      joined.insert(joined.end(), ids.begin(), ids.end());
      std::size_t begin = 0;
      for (; joined.size() - begin >= body_; begin += body_) {
        add(std::span(joined).subspan(begin, body_));
      }
      joined.erase(joined.begin(), joined.begin() + static_cast<std::ptrdiff_t>(begin));
    }
    if (missing() > 0) add(joined);
  }

  std::int64_t longest() const { return longest_; }

 private:
  std::size_t missing() const {
    return static_cast<std::size_t>(options_.samples) - data_.sequences.size();
  }

  // False when it is too short.
  bool add(std::span<const TokenId> ids) {
    std::vector<TokenId> sequence;
    if (bos_) sequence.push_back(*bos_);
    sequence.insert(sequence.end(), ids.begin(), ids.end());
    const auto length = static_cast<std::int64_t>(sequence.size());
    longest_ = std::max(longest_, length);
    if (ids.empty() || length < options_.min_length) return false;
    data_.sequences.push_back(std::move(sequence));
    return true;
  }

  const CalibrationDataOptions& options_;
  const Tokenizer& tokenizer_;
  CalibrationData& data_;
  std::optional<TokenId> bos_;
  std::size_t body_;  // tokens of a sequence beside BOS
  std::int64_t longest_ = 0;
};

}  // namespace

std::int64_t CalibrationData::tokens() const {
  std::int64_t total = 0;
  for (const auto& sequence : sequences) total += static_cast<std::int64_t>(sequence.size());
  return total;
}

std::string CalibrationData::summary() const {
  return fmt::format("{}: {} sequences, {} tokens, {}", name, sequences.size(), tokens(),
                     fingerprint());
}

std::string CalibrationData::fingerprint() const {
  Hasher hasher;
  hasher.update(fmt::format("{} sequences", sequences.size()));
  for (const auto& sequence : sequences) {
    hasher.update(fmt::format("{} tokens", sequence.size()));
    hasher.update(sequence.data(), sequence.size() * sizeof(TokenId));
  }
  return hasher.hex();
}

const char* calibration_join_name(CalibrationJoin join) {
  for (const auto& [row, name] : kJoins) {
    if (row == join) return name;
  }
  return "unknown";
}

std::optional<CalibrationJoin> calibration_join_from_name(std::string_view name) {
  for (const auto& [join, row] : kJoins) {
    if (name == row) return join;
  }
  return std::nullopt;
}

std::vector<std::string> calibration_join_names() {
  std::vector<std::string> names;
  for (const auto& row : kJoins) names.emplace_back(row.second);
  return names;
}

CalibrationData load_calibration_data(const CalibrationDataOptions& options,
                                      const Tokenizer& tokenizer, std::int64_t max_positions) {
  check_options(options, max_positions);
  CalibrationData data;
  data.requested = options.samples;
  std::vector<std::string> documents = read_documents(options, data);
  if (options.seed) shuffle(documents, *options.seed);
  Cutter cutter(options, tokenizer, data);
  const bool joined = options.join == CalibrationJoin::kConcatenate;
  joined ? cutter.concatenate(documents) : cutter.truncate(documents);
  if (!data.sequences.empty()) return data;
  raise(ErrorKind::kInvalidArgument,
        "'{}' has nothing to calibrate on: {} has {} tokens, and {} are the minimum", data.name,
        joined ? "all of it" : fmt::format("the longest of {} documents", data.documents),
        cutter.longest(), std::max<std::int64_t>(options.min_length, 1));
}

CalibrationLengths calibration_lengths(const CalibrationData& data) {
  std::vector<std::int64_t> lengths;
  for (const auto& sequence : data.sequences) {
    lengths.push_back(static_cast<std::int64_t>(sequence.size()));
  }
  if (lengths.empty()) return {};
  std::sort(lengths.begin(), lengths.end());
  const std::size_t n = lengths.size();
  return {lengths.front(), lengths[(n - 1) / 2], lengths[(9 * n + 9) / 10 - 1], lengths.back()};
}

std::vector<std::string> calibration_lines(const CalibrationData& data) {
  const auto count = static_cast<std::int64_t>(data.sequences.size());
  const CalibrationLengths lengths = calibration_lengths(data);
  std::string first =
      fmt::format("calibration: {} sequences of {}, {} tokens", count, data.name, data.tokens());
  if (count < data.requested) first += fmt::format("; {} were asked for", data.requested);
  return {first, fmt::format("  lengths: min {}, median {}, 90 % {}, max {}; {} documents, {} of "
                             "them skipped as too short",
                             lengths.min, lengths.median, lengths.p90, lengths.max, data.documents,
                             data.skipped)};
}

}  // namespace aquatint
