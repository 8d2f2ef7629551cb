#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "formats/safetensors_header.h"

namespace aquatint::detail {
namespace {

// A streaming reader, because the tree that nlohmann builds silently keeps the last of two equal
// keys, and because the header's shape is fixed: an object of objects of three fields.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& origin) : origin_(origin) {}
  RawHeader take() { return std::move(header_); }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override {
    return unexpected(fmt::format("{}", value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return unexpected(printable(text, 40));
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::kShape) {
      tensor_.shape.push_back(value);
    } else if (state_ == State::kOffsets && offsets_ < 2) {
      (offsets_++ == 0 ? tensor_.begin : tensor_.end) = value;
    } else {
      return unexpected(fmt::format("{}", value));
    }
    return true;
  }

  bool string(string_t& value) override {
    if (state_ == State::kMetadataValue) {
      header_.metadata.emplace(key_, std::move(value));
      state_ = State::kMetadata;
    } else if (state_ == State::kDtypeValue) {
      tensor_.dtype = std::move(value);
      state_ = State::kTensor;
    } else {
      return unexpected(fmt::format("the string '{}'", printable(value, 60)));
    }
    return true;
  }

  bool key(string_t& value) override {
    switch (state_) {
      case State::kTop:
        return top_key(value);
      case State::kMetadata:
        return metadata_key(value);
      case State::kTensor:
        return tensor_key(value);
      default:
        return unexpected("a key");
    }
  }

  bool start_object(std::size_t) override {
    switch (state_) {
      case State::kStart:
        state_ = State::kTop;
        return true;
      case State::kMetadataStart:
        state_ = State::kMetadata;
        return true;
      case State::kTensorStart:
        state_ = State::kTensor;
        return true;
      default:
        return unexpected("an object");
    }
  }

  bool end_object() override {
    if (state_ == State::kTensor) finish_tensor();
    state_ = state_ == State::kTop ? State::kDone : State::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::kShapeStart) {
      state_ = State::kShape;
    } else if (state_ == State::kOffsetsStart) {
      state_ = State::kOffsets;
    } else {
      return unexpected("a list");
    }
    return true;
  }

  bool end_array() override {
    if (state_ == State::kOffsets && offsets_ != 2) {
      raise(ErrorKind::kCorrupt, "'{}': {}: data_offsets has {} numbers, not 2", origin_, where(),
            offsets_);
    }
    state_ = State::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 9: <the useful part>"
    std::string text = error.what();
    const std::size_t colon = text.find(": ");
    if (colon != std::string::npos) text.erase(0, colon + 2);
    raise(ErrorKind::kCorrupt, "'{}': the header is not valid JSON at byte {}: {}", origin_,
          position + 7, printable(text));
  }

 private:
  enum class State {
    kStart,
    kTop,
    kMetadataStart,
    kMetadata,
    kMetadataValue,
    kTensorStart,
    kTensor,
    kDtypeValue,
    kShapeStart,
    kShape,
    kOffsetsStart,
    kOffsets,
    kDone
  };
  enum Field : unsigned { kDtypeField = 1, kShapeField = 2, kOffsetsField = 4, kAllFields = 7 };

  bool top_key(string_t& value) {
    if (value == "__metadata__") {
      if (std::exchange(has_metadata_, true)) repeated("__metadata__");
      state_ = State::kMetadataStart;
      return true;
    }
    if (!names_.insert(value).second) {
      raise(ErrorKind::kCorrupt, "'{}': tensor '{}' is listed twice", origin_, printable(value));
    }
    tensor_ = RawTensor();
    tensor_.name = std::move(value);
    fields_ = 0;
    offsets_ = 0;
    state_ = State::kTensorStart;
    return true;
  }

  bool metadata_key(string_t& value) {
    if (header_.metadata.count(value) > 0) repeated(value);
    key_ = std::move(value);
    state_ = State::kMetadataValue;
    return true;
  }

  bool tensor_key(const string_t& value) {
    const auto [field, next] = value == "dtype"   ? std::pair(kDtypeField, State::kDtypeValue)
                               : value == "shape" ? std::pair(kShapeField, State::kShapeStart)
                                                  : std::pair(kOffsetsField, State::kOffsetsStart);
    if (field == kOffsetsField && value != "data_offsets") {
      raise(ErrorKind::kCorrupt, "'{}': {}: unknown key '{}'", origin_, where(), printable(value));
    }
    if ((fields_ & field) != 0) repeated(value);
    fields_ |= field;
    state_ = next;
    return true;
  }

  void finish_tensor() {
    if (fields_ != kAllFields) {
      const char* missing = (fields_ & kDtypeField) == 0   ? "dtype"
                            : (fields_ & kShapeField) == 0 ? "shape"
                                                           : "data_offsets";
      raise(ErrorKind::kCorrupt, "'{}': {} has no {}", origin_, where(), missing);
    }
    header_.tensors.push_back(std::move(tensor_));
  }

  // Where the reader is, in words the message can start with.
  std::string where() const {
    switch (state_) {
      case State::kStart:
      case State::kTop:
      case State::kDone:
        return "the header";
      case State::kMetadataStart:
      case State::kMetadata:
        return "__metadata__";
      case State::kMetadataValue:
        return fmt::format("__metadata__ key '{}'", printable(key_));
      default:
        return fmt::format("tensor '{}'", printable(tensor_.name));
    }
  }

  const char* expected() const {
    switch (state_) {
      case State::kDtypeValue:
        return "dtype must be a string";
      case State::kMetadataValue:
        return "the value must be a string";
      case State::kShapeStart:
        return "shape must be a list";
      case State::kShape:
        return "shape must hold only integers from 0 to 2^64 - 1";
      case State::kOffsetsStart:
        return "data_offsets must be a list";
      case State::kOffsets:
        return "data_offsets must be 2 integers from 0 to 2^64 - 1";
      default:
        return "an object must be here";
    }
  }

  bool unexpected(const std::string& found) const {
    raise(ErrorKind::kCorrupt, "'{}': {}: {}, not {}", origin_, where(), expected(), found);
  }

  [[noreturn]] void repeated(const std::string& key) const {
    raise(ErrorKind::kCorrupt, "'{}': {}: key '{}' is there twice", origin_, where(),
          printable(key));
  }

  const std::string& origin_;
  State state_ = State::kStart;
  RawHeader header_;
  RawTensor tensor_;
  std::string key_;
  unsigned fields_ = 0;
  int offsets_ = 0;
  bool has_metadata_ = false;
  std::set<std::string> names_;
};

}  // namespace

RawHeader parse_header_json(std::string_view text, const std::string& origin) {
  // The parser takes a zero byte for the end of its input and skips a byte order mark; the format
  // allows neither.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    raise(ErrorKind::kCorrupt, "'{}': the header has a zero byte at byte {}", origin, zero + 8);
  }
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') {
    raise(ErrorKind::kCorrupt, "'{}': the header ({} bytes) is not a JSON object", origin,
          text.size());
  }
  HeaderReader reader(origin);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  return reader.take();
}

}  // namespace aquatint::detail
