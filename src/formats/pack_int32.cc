#include <bit>
#include <cstring>

#include "base/threads.h"
#include "formats/compressed_tensors.h"

namespace aquatint {
namespace {

std::int64_t dense_words(std::int64_t columns, int bits) {
  return (columns * bits + 31) / 32;
}

std::int64_t padded_words(std::int64_t columns, int bits) {
  const std::int64_t per_word = 32 / bits;
  return (columns + per_word - 1) / per_word;
}

// 4 and 8 bits, where no value spans two words: byte by byte, in loops that run in vectors.
void pack_whole_words(const std::int8_t* values, std::int64_t count, int bits,
                      std::uint32_t* words) {
  static_assert(std::endian::native == std::endian::little);
  auto* bytes = reinterpret_cast<std::uint8_t*>(words);
  if (bits == 8) {
    for (std::int64_t i = 0; i < 4 * count; ++i) {
      bytes[i] = static_cast<std::uint8_t>(values[i] ^ 0x80);
    }
    return;
  }
  for (std::int64_t i = 0; i < 4 * count; ++i) {
    const int low = values[2 * i] + 8, high = values[2 * i + 1] + 8;
    bytes[i] = static_cast<std::uint8_t>((low & 15) | (high & 15) << 4);
  }
}

void pack_row(const std::int8_t* values, std::int64_t columns, int bits, std::uint32_t* words) {
  const int offset = 1 << (bits - 1);
  const std::uint32_t mask = (1u << bits) - 1;
  if (bits == 4 || bits == 8) {
    const std::int64_t whole = columns * bits / 32;
    pack_whole_words(values, whole, bits, words);
    words += whole;
    values += whole * 32 / bits;
    columns -= whole * 32 / bits;
  }
  std::uint64_t pending = 0;  // bits not written yet, from the low end
  int filled = 0;
  for (std::int64_t k = 0; k < columns; ++k) {
    const std::uint64_t u = static_cast<std::uint32_t>(values[k] + offset) & mask;
    pending |= u << filled;
    filled += bits;
    if (filled < 32) continue;
    *words++ = static_cast<std::uint32_t>(pending);
    pending >>= 32;
    filled -= 32;
  }
  if (filled > 0) *words = static_cast<std::uint32_t>(pending);
}

// `words` need not be aligned. `used` bits of each word hold values: 32, or fewer with padding.
void unpack_row(const std::byte* words, std::int64_t columns, int bits, int used,
                std::int8_t* values) {
  const int offset = 1 << (bits - 1);
  const std::uint32_t mask = (1u << bits) - 1;
  std::uint64_t pending = 0;
  int filled = 0;
  for (std::int64_t k = 0; k < columns; ++k) {
    if (filled < bits) {
      std::uint32_t word = 0;
      std::memcpy(&word, words, sizeof(word));
      words += sizeof(word);
      const std::uint64_t valid = (std::uint64_t{1} << used) - 1;
      pending |= (word & valid) << filled;
      filled += used;
    }
    values[k] = static_cast<std::int8_t>(static_cast<int>(pending & mask) - offset);
    pending >>= bits;
    filled -= bits;
  }
}

}  // namespace

Tensor pack_int32(const Tensor& values, int bits) {
  AQUATINT_ASSERT(values.dtype() == DType::kI8 && values.shape().rank() == 2);
  AQUATINT_ASSERT(bits >= 2 && bits <= 8);
  const std::int64_t rows = values.dim(0), columns = values.dim(1);
  const std::int64_t width = dense_words(columns, bits);
  Tensor words = Tensor::empty(Shape{rows, width}, DType::kI32);
  const auto* source = values.data<std::int8_t>();
  auto* target = words.mutable_data<std::uint32_t>();
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      pack_row(source + n * columns, columns, bits, target + n * width);
    }
  });
  return words;
}

Tensor unpack_int32(const Tensor& words, int bits, std::int64_t columns) {
  AQUATINT_ASSERT(words.dtype() == DType::kI32 && words.shape().rank() == 2);
  AQUATINT_ASSERT(bits >= 2 && bits <= 8 && columns >= 0);
  const std::int64_t rows = words.dim(0), width = words.dim(1);
  const bool dense = width == dense_words(columns, bits);
  if (!dense && width != padded_words(columns, bits)) {
    raise(ErrorKind::kCorrupt, "rows of {} words for {} values of {} bits, which take {}", width,
          columns, bits, dense_words(columns, bits));
  }
  const int used = dense ? 32 : 32 / bits * bits;
  Tensor values = Tensor::empty(Shape{rows, columns}, DType::kI8);
  const std::byte* source = words.bytes();
  auto* target = values.mutable_data<std::int8_t>();
  parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      unpack_row(source + n * width * 4, columns, bits, used, target + n * columns);
    }
  });
  return values;
}

}  // namespace aquatint
