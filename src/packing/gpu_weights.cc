#include "packing/gpu_weights.h"

#include <algorithm>
#include <cstring>

#include "base/threads.h"

namespace aquatint {
namespace {

constexpr std::int64_t kPanel = GpuWeights::kPanel;
constexpr std::int64_t kBlockColumns = 128;  // of 4 bits
constexpr std::int64_t kRowBytes = 64;       // of an output in such a block
constexpr std::int64_t kBlockBytes = kRowBytes * kPanel;
constexpr std::int64_t kInt8Columns = 64;

std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

// Every second of eight nibbles, which lie in bits 0, 16, 32 and 48, next to each other.
std::uint32_t compress(std::uint64_t v) {
  v &= 0x000f000f000f000fu;
  v = (v | (v >> 12)) & 0x000000ff000000ffu;
  return static_cast<std::uint32_t>((v | (v >> 24)) & 0xffffu);
}

// Eight values as one word; byte i of `values` is column i.
std::uint32_t pack_word(std::uint64_t values) {
  const std::uint64_t u = values ^ 0x0808080808080808u;
  return compress(u) | (compress(u >> 8) << 16);
}

// Byte at which the word of columns 8 * chunk .. + 7 of a row starts, from the panel's first byte.
std::int64_t word_offset(std::int64_t row, std::int64_t chunk) {
  const std::int64_t block = chunk / 16, j = chunk % 16 / 4, t = chunk % 4;
  return block * kBlockBytes + row * kRowBytes + t * 16 + j * 4;
}

void pack_row_u4(const std::int8_t* values, std::int64_t columns, std::int64_t row,
                 std::uint8_t* panel) {
  for (std::int64_t k = 0; k < columns; k += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, values + k,
                static_cast<std::size_t>(std::min<std::int64_t>(8, columns - k)));
    const std::uint32_t word = pack_word(eight);
    std::memcpy(panel + word_offset(row, k / 8), &word, sizeof(word));
  }
}

// The products subtract 136 + zero from 128 + u in bfloat16, and so need it to be below 256.
std::int8_t checked_zero(const QuantizedMatrix& m, int bits, std::int64_t n, std::int64_t g) {
  const int zero = m.zero_point(n, g);
  if (bits == 4 && (zero < -8 || zero >= 120)) {
    raise(ErrorKind::kCorrupt, "zero point {} of row {}, group {} is outside the range of 4 bits",
          zero, n, g);
  }
  return static_cast<std::int8_t>(zero);
}

void pack_panel(const QuantizedMatrix& m, std::int64_t panel, GpuWeights& packed) {
  const std::int64_t panel_bytes = packed.padded_columns * kPanel * packed.bits / 8;
  auto* data = reinterpret_cast<std::uint8_t*>(packed.data.mutable_bytes()) + panel * panel_bytes;
  std::memset(data, packed.bits == 4 ? 0x88 : 0, static_cast<std::size_t>(panel_bytes));
  const std::int64_t first = panel * kPanel;
  for (std::int64_t row = 0; row < std::min(kPanel, packed.outputs - first); ++row) {
    const std::int64_t n = first + row;
    const std::int8_t* values = m.values.data<std::int8_t>() + n * packed.columns;
    if (packed.bits == 4) {
      pack_row_u4(values, packed.columns, row, data);
    } else {
      std::memcpy(data + row * packed.padded_columns, values,
                  static_cast<std::size_t>(packed.columns));
    }
    for (std::int64_t g = 0; g < packed.groups; ++g) {
      const std::int64_t at = (panel * packed.groups + g) * kPanel + row;
      packed.scales.mutable_data<float>()[at] = m.scale(n, g);
      if (packed.asymmetric) {
        packed.zeros.mutable_data<std::int8_t>()[at] = checked_zero(m, packed.bits, n, g);
      }
    }
  }
}

int value_at(const GpuWeights& packed, std::int64_t n, std::int64_t k) {
  if (packed.bits == 8) return packed.data.data<std::int8_t>()[n * packed.padded_columns + k];
  constexpr int kNibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};
  std::uint32_t word = 0;
  std::memcpy(&word,
              packed.data.bytes() +
                  n / kPanel * (packed.padded_columns / kBlockColumns) * kBlockBytes +
                  word_offset(n % kPanel, k / 8),
              sizeof(word));
  return static_cast<int>((word >> (4 * kNibble[k % 8])) & 15u) - 8;
}

}  // namespace

GpuWeights pack_gpu_weights(const QuantizedMatrix& matrix) {
  const WeightScheme& scheme = matrix.scheme;
  if (scheme.bits < 2 || scheme.bits > 8) {
    raise(ErrorKind::kUnsupported, "weights of {} bits cannot be packed: 2 to 8 are supported",
          scheme.bits);
  }
  GpuWeights packed;
  packed.bits = scheme.bits <= 4 ? 4 : 8;
  packed.outputs = matrix.rows();
  packed.columns = matrix.columns();
  packed.groups = matrix.groups();
  const std::int64_t step = packed.bits == 4 ? kBlockColumns : kInt8Columns;
  if (packed.groups > 1) {
    packed.group_size = scheme.group_size;
    if (scheme.group_size % 8 != 0) {
      raise(ErrorKind::kUnsupported,
            "a group size of {} cannot be packed: it must be a multiple of 8", scheme.group_size);
    }
    packed.padded_columns = round_up(packed.group_size * packed.groups, step);
  } else {
    packed.padded_columns = round_up(packed.columns, step);
    packed.group_size = packed.padded_columns;
  }
  packed.asymmetric = matrix.zero_points.defined();
  const std::int64_t panels = packed.panels();
  packed.data = packed.bits == 4
                    ? Tensor::empty({panels, packed.padded_columns * kPanel / 2}, DType::kU8)
                    : Tensor::empty({panels * kPanel, packed.padded_columns}, DType::kI8);
  packed.scales = Tensor::zeros({panels, packed.groups, kPanel}, DType::kF32);
  if (packed.asymmetric) packed.zeros = Tensor::zeros({panels, packed.groups, kPanel}, DType::kI8);
  parallel_for(panels, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel) pack_panel(matrix, panel, packed);
  });
  return packed;
}

Tensor unpack_to_f32(const GpuWeights& packed) {
  Tensor out = Tensor::empty({packed.outputs, packed.columns}, DType::kF32);
  auto* dst = out.mutable_data<float>();
  parallel_for(packed.outputs, kPanel, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      for (std::int64_t k = 0; k < packed.columns; ++k) {
        const std::int64_t group = n / kPanel * packed.groups + k / packed.group_size;
        const std::int64_t at = group * kPanel + n % kPanel;
        const int zero = packed.asymmetric ? packed.zeros.data<std::int8_t>()[at] : 0;
        dst[n * packed.columns + k] =
            static_cast<float>(value_at(packed, n, k) - zero) * packed.scales.data<float>()[at];
      }
    }
  });
  return out;
}

}  // namespace aquatint
