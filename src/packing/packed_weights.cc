#include "packing/packed_weights.h"

#include <algorithm>
#include <cstring>

#include "base/threads.h"

namespace aquatint {
namespace {

constexpr std::int64_t kPanel = PackedWeights::kPanel;

// Four stored bytes; memcpy keeps the access legal at any alignment.
std::uint32_t load_quad(const std::uint8_t* p) {
  std::uint32_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return v;
}

void store_quad(std::uint8_t* p, std::uint32_t v) {
  std::memcpy(p, &v, sizeof v);
}

// Flipping the sign bit of a two's complement value adds 2^(bits-1).
void pack_row_u8(const std::uint8_t* values, std::int64_t columns, std::uint8_t* lane) {
  const std::int64_t quads = columns / 4;
  for (std::int64_t i = 0; i < quads; ++i) {
    store_quad(lane + i * 64, load_quad(values + i * 4) ^ 0x80808080u);
  }
}

void pack_row_u4(const std::uint8_t* values, std::int64_t columns, std::uint8_t* lane) {
  constexpr std::uint32_t kLow = 0x0f0f0f0fu;
  constexpr std::uint32_t kSign = 0x08080808u;
  const std::int64_t pairs = columns / 8;
  for (std::int64_t i = 0; i < pairs; ++i) {
    const std::uint32_t low = (load_quad(values + i * 8) & kLow) ^ kSign;
    const std::uint32_t high = (load_quad(values + i * 8 + 4) & kLow) ^ kSign;
    store_quad(lane + i * 64, low | (high << 4));
  }
}

void pack_row(const std::int8_t* values, std::int64_t columns, int bits, std::uint8_t* lane) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(values);
  const std::int64_t whole = columns / 8 * 8;
  std::uint8_t tail[8] = {};
  std::copy(bytes + whole, bytes + columns, tail);
  if (bits == 8) {
    pack_row_u8(bytes, whole, lane);
    if (whole < columns) pack_row_u8(tail, 8, lane + whole / 4 * 64);
  } else {
    pack_row_u4(bytes, whole, lane);
    if (whole < columns) pack_row_u4(tail, 8, lane + whole / 8 * 64);
  }
}

std::uint8_t unsigned_zero(const QuantizedMatrix& m, int bits, std::int64_t n, std::int64_t g) {
  const int z = m.zero_point(n, g) + (1 << (bits - 1));
  if (z < 0 || z > 255) {
    raise(ErrorKind::kCorrupt, "zero point {} of row {}, group {} is outside the range of {} bits",
          m.zero_point(n, g), n, g, bits);
  }
  return static_cast<std::uint8_t>(z);
}

void pack_panel(const QuantizedMatrix& m, std::int64_t panel, PackedWeights& packed) {
  const std::int64_t groups = packed.groups;
  const auto* values = m.values.data<std::int8_t>();
  const std::int64_t panel_bytes = packed.padded_columns() * kPanel * packed.bits / 8;
  std::uint8_t* data = packed.data.mutable_data<std::uint8_t>() + panel * panel_bytes;
  float* scales = packed.scales.mutable_data<float>() + panel * groups * kPanel;
  std::uint8_t* zeros = packed.zeros.defined()
                            ? packed.zeros.mutable_data<std::uint8_t>() + panel * groups * kPanel
                            : nullptr;
  const std::int64_t first = panel * kPanel;
  const std::int64_t lanes = std::min(kPanel, packed.outputs - first);
  for (std::int64_t lane = 0; lane < lanes; ++lane) {
    const std::int64_t n = first + lane;
    pack_row(values + n * packed.columns, packed.columns, packed.bits, data + lane * 4);
    for (std::int64_t g = 0; g < groups; ++g) {
      scales[g * kPanel + lane] = m.scale(n, g);
      if (zeros != nullptr) zeros[g * kPanel + lane] = unsigned_zero(m, packed.bits, n, g);
    }
  }
}

}  // namespace

PackedWeights pack_weights(const QuantizedMatrix& matrix) {
  const WeightScheme& scheme = matrix.scheme;
  PackedWeights packed;
  if (scheme.bits < 2 || scheme.bits > 8) {
    raise(ErrorKind::kUnsupported, "weights of {} bits cannot be packed: 2 to 8 are supported",
          scheme.bits);
  }
  packed.bits = scheme.bits <= 4 ? 4 : 8;
  packed.outputs = matrix.rows();
  packed.columns = matrix.columns();
  packed.groups = matrix.groups();
  packed.group_size = (packed.columns + 7) / 8 * 8;
  if (packed.groups > 1) {
    packed.group_size = scheme.group_size;
    if (scheme.group_size % 8 != 0) {
      raise(ErrorKind::kUnsupported,
            "a group size of {} cannot be packed: it must be a multiple of 8", scheme.group_size);
    }
  }
  packed.symmetric_zero = 1 << (packed.bits - 1);
  const std::int64_t panels = packed.panels();
  packed.data = Tensor::weight_zeros({panels, packed.padded_columns() * kPanel * packed.bits / 8},
                                     DType::kU8);
  packed.scales = Tensor::weight_zeros({panels, packed.groups, kPanel}, DType::kF32);
  if (matrix.zero_points.defined()) {
    packed.zeros = Tensor::weight_zeros({panels, packed.groups, kPanel}, DType::kU8);
  }
  parallel_for(panels, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel) pack_panel(matrix, panel, packed);
  });
  return packed;
}

Tensor unpack_to_f32(const PackedWeights& packed) {
  const std::int64_t columns = packed.columns;
  const std::int64_t panel_bytes = packed.padded_columns() * kPanel * packed.bits / 8;
  const auto* data = packed.data.data<std::uint8_t>();
  const auto* scales = packed.scales.data<float>();
  const auto* zeros = packed.zeros.defined() ? packed.zeros.data<std::uint8_t>() : nullptr;
  Tensor out = Tensor::empty({packed.outputs, columns}, DType::kF32);
  auto* dst = out.mutable_data<float>();
  parallel_for(packed.outputs, kPanel, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t panel = n / kPanel;
      const std::int64_t lane = n % kPanel;
      const std::uint8_t* bytes = data + panel * panel_bytes + lane * 4;
      for (std::int64_t k = 0; k < columns; ++k) {
        const std::int64_t at = (panel * packed.groups + k / packed.group_size) * kPanel + lane;
        int u = 0;
        if (packed.bits == 8) {
          u = bytes[k / 4 * 64 + k % 4];
        } else {
          const int byte = bytes[k / 8 * 64 + k % 4];
          u = k % 8 < 4 ? byte & 15 : byte >> 4;
        }
        const int z = zeros != nullptr ? zeros[at] : packed.symmetric_zero;
        dst[n * columns + k] = static_cast<float>(u - z) * scales[at];
      }
    }
  });
  return out;
}

}  // namespace aquatint
