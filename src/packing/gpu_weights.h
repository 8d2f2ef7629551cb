// The kernel packing of quantized weights for NVIDIA GPUs: bytes in the order in which a thread of
// a tensor core's fragment wants them, so that a product with few rows loads 16 bytes at a time and
// expands them in registers. Signed values: W[n, k] = (q - zero) * scale.
//
// Layout. Outputs are padded to panels of 16 with scale 0.
//   8 bits: row-major int8 q, columns padded to a multiple of 64 with 0. This is also what the
//           library's int8 products take.
//   4 bits: columns are padded to blocks of 128 with q = 0. A panel's block is 1024 bytes that lie
//           together, 64 bytes for each of its 16 outputs: chunk t = 0..3 of 16 bytes holds words
//           j = 0..3, and word j the values u = q + 8 of columns 32j + 8t + 0..7 of the block, with
//           v0 v2 v4 v6 v1 v3 v5 v7 in nibbles 0..7: (word >> 4i) & 0x000f000f is the pair of
//           columns 2i and 2i + 1.
//   Scales and zeros lie as [panel][group][16].
// docs/kernels/quant_matmul_cuda.md says why.
#pragma once

#include "packing/quantized_matrix.h"

namespace aquatint {

struct GpuWeights {
  static constexpr std::int64_t kPanel = 16;

  int bits = 8;              // 4 or 8
  std::int64_t outputs = 0;  // N
  std::int64_t columns = 0;  // K
  std::int64_t group_size =
      0;  // in columns, a multiple of 8; padded_columns when there is one group
  std::int64_t groups = 1;
  std::int64_t padded_columns = 0;  // at least group_size * groups
  bool asymmetric = false;
  Tensor data;    // int8 [padded_outputs, padded_columns], or uint8 [panels, padded_columns * 8]
  Tensor scales;  // float32 [panels, groups, 16]
  Tensor zeros;   // int8 [panels, groups, 16], zero above; undefined when symmetric

  std::int64_t panels() const { return (outputs + kPanel - 1) / kPanel; }
  std::int64_t padded_outputs() const { return panels() * kPanel; }
  std::size_t nbytes() const {
    return data.nbytes() + scales.nbytes() + (zeros.defined() ? zeros.nbytes() : 0);
  }
};

// Packs 4- or 8-bit values (2 and 3 bits are widened to 4) into host memory. A group size that is
// not a multiple of 8 is error kUnsupported; the last group may be short.
GpuWeights pack_gpu_weights(const QuantizedMatrix& matrix);

// float32 [outputs, columns]: what the packed bytes stand for. REQUIRES: in host memory.
Tensor unpack_to_f32(const GpuWeights& packed);

}  // namespace aquatint
