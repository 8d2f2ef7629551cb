#include "formats/safetensors_header.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "formats/safetensors.h"

namespace aquatint {
namespace detail {

unsigned safetensors_dtype_bits(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, unsigned>, 23> kBits{{
      {"BOOL", 8},    {"U8", 8},          {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8},
      {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},
      {"F16", 16},    {"BF16", 16},       {"I32", 32},        {"U32", 32},    {"F32", 32},
      {"I64", 64},    {"U64", 64},        {"F64", 64},        {"C64", 64},    {"F4", 4},
      {"F4_E2M1", 4}, {"F6_E2M3", 6},     {"F6_E3M2", 6},
  }};
  const auto* row = std::find_if(kBits.begin(), kBits.end(),
                                 [&](const auto& entry) { return entry.first == name; });
  return row == kBits.end() ? 0 : row->second;
}

namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the limit of the reference implementation

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  return printable(fmt::format("[{}]", fmt::join(shape, ", ")));
}

// Bytes that a shape and type need. Products are taken in order with overflow checked at each step,
// as the reference implementation does.
std::uint64_t needed_bytes(const RawTensor& tensor, const std::string& origin) {
  const unsigned bits = safetensors_dtype_bits(tensor.dtype);
  if (bits == 0) {
    raise(ErrorKind::kUnsupported, "'{}': tensor '{}' has unknown dtype '{}'", origin,
          printable(tensor.name), printable(tensor.dtype, 40));
  }
  constexpr auto kMaxDim = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t total = 1;
  bool overflow = false;
  for (const std::uint64_t dim : tensor.shape) {
    overflow = overflow || dim > kMaxDim || __builtin_mul_overflow(total, dim, &total);
  }
  if (overflow || total > kMaxDim || __builtin_mul_overflow(total, bits, &total)) {
    raise(ErrorKind::kCorrupt, "'{}': tensor '{}' of shape {} and dtype {}: the size overflows",
          origin, printable(tensor.name), shape_text(tensor.shape), tensor.dtype);
  }
  if (total % 8 != 0) {
    raise(ErrorKind::kCorrupt,
          "'{}': tensor '{}' of shape {} and dtype {} takes {} bits, not whole bytes", origin,
          printable(tensor.name), shape_text(tensor.shape), tensor.dtype, total);
  }
  return total / 8;
}

// One tensor's own numbers: end after begin, inside the file, as large as its shape says.
void check_tensor(const RawTensor& tensor, std::uint64_t data_start, std::uint64_t data_size,
                  const std::string& origin) {
  const std::string name = printable(tensor.name);
  if (tensor.end < tensor.begin) {
    raise(ErrorKind::kCorrupt,
          "'{}': tensor '{}' has data_offsets [{}, {}], the end before the begin", origin, name,
          tensor.begin, tensor.end);
  }
  const std::uint64_t needed = needed_bytes(tensor, origin);
  if (tensor.end > data_size) {
    if (tensor.end > std::numeric_limits<std::uint64_t>::max() - data_start) {
      raise(ErrorKind::kCorrupt, "'{}': tensor '{}' has data_offsets [{}, {}], which overflow",
            origin, name, tensor.begin, tensor.end);
    }
    raise(ErrorKind::kCorrupt, "'{}': tensor '{}' ends at byte {}, past the end of the file ({})",
          origin, name, data_start + tensor.end, data_start + data_size);
  }
  if (needed != tensor.end - tensor.begin) {
    raise(ErrorKind::kCorrupt,
          "'{}': tensor '{}' of shape {} and dtype {} needs {} bytes but has {}", origin, name,
          shape_text(tensor.shape), tensor.dtype, needed, tensor.end - tensor.begin);
  }
}

// All tensors together: they cover the data exactly once.
void check_layout(std::vector<RawTensor>& tensors, std::uint64_t data_start,
                  std::uint64_t data_size, const std::string& origin) {
  std::sort(tensors.begin(), tensors.end(), [](const RawTensor& a, const RawTensor& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t position = 0;
  std::string previous = "the header";
  for (const RawTensor& tensor : tensors) {
    const std::string name = printable(tensor.name);
    if (tensor.begin > position) {
      raise(ErrorKind::kCorrupt,
            "'{}': tensor '{}' begins at byte {}, {} bytes after the end of {}", origin, name,
            data_start + tensor.begin, tensor.begin - position, previous);
    }
    if (tensor.begin < position) {
      raise(ErrorKind::kCorrupt,
            "'{}': tensor '{}' begins at byte {}, inside {}, which ends at byte {}", origin, name,
            data_start + tensor.begin, previous, data_start + position);
    }
    position = tensor.end;
    previous = fmt::format("tensor '{}'", name);
  }
  if (position != data_size) {
    raise(ErrorKind::kCorrupt, "'{}': {} bytes after the last tensor, which ends at byte {} of {}",
          origin, data_size - position, data_start + position, data_start + data_size);
  }
}

std::uint64_t header_length(std::span<const std::byte> file, const std::string& origin) {
  if (file.size() < 8) {
    raise(ErrorKind::kCorrupt, "'{}': {} bytes, too short for a safetensors file (8 at least)",
          origin, file.size());
  }
  std::uint64_t length = 0;
  for (unsigned i = 0; i < 8; ++i) {
    length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
  }
  if (length > kMaxHeader) {
    raise(ErrorKind::kCorrupt,
          "'{}': a header of {} bytes, more than the {} the format allows; is this a safetensors "
          "file?",
          origin, length, kMaxHeader);
  }
  if (length > file.size() - 8) {
    raise(ErrorKind::kCorrupt, "'{}': the header ends at byte {}, past the end of the file ({})",
          origin, length + 8, file.size());
  }
  return length;
}

}  // namespace
}  // namespace detail

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file,
                                           const std::string& origin) {
  const std::uint64_t length = detail::header_length(file, origin);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  detail::RawHeader raw = detail::parse_header_json(text, origin);
  const std::uint64_t data_start = length + 8;
  const std::uint64_t data_size = file.size() - data_start;
  for (const detail::RawTensor& tensor : raw.tensors) {
    detail::check_tensor(tensor, data_start, data_size, origin);
  }
  detail::check_layout(raw.tensors, data_start, data_size, origin);

  SafetensorsHeader header;
  header.metadata = std::move(raw.metadata);
  for (detail::RawTensor& tensor : raw.tensors) {
    TensorEntry& entry = header.entries[std::move(tensor.name)];
    entry.dtype_name = std::move(tensor.dtype);
    entry.shape.assign(tensor.shape.begin(), tensor.shape.end());
    entry.offset = data_start + tensor.begin;
    entry.nbytes = tensor.end - tensor.begin;
  }
  return header;
}

}  // namespace aquatint
