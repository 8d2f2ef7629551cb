// The kernel packing of quantized weights: u4 or u8 values in the order that dot-product
// instructions consume them. One packing serves decode (one row of activations, streamed at memory
// speed) and prefill (register-blocked), so weights are in memory once.
//
// Values are stored unsigned: u = q + 2^(bits-1), so W[n, k] = (u - z) * scale with z = zero_point
// + 2^(bits-1). The product needs only the dot product of u and the activations, and the sum of the
// activations of each group: sum_k W x = scale * (sum_k u x - z * sum_k x).
//
// Layout. Outputs are cut into panels of 16, K into quads of 4. Byte b of lane o (64-byte vector)
// is:
//   8 bits: vector [panel][quad]:      u[16*panel + o][4*quad + b]
//   4 bits: vector [panel][quad pair]: low nibble  u[16*panel + o][8*pair + b],
//                                      high nibble u[16*panel + o][8*pair + 4 + b]
// Columns are padded to padded_columns() (activations are zero there); outputs to whole panels,
// with scale 0. Groups hold a whole number of quads (8 bits) or quad pairs (4 bits).
#pragma once

#include "packing/quantized_matrix.h"

namespace aquatint {

struct PackedWeights {
  static constexpr std::int64_t kPanel = 16;

  int bits = 8;
  std::int64_t outputs = 0;  // N
  std::int64_t columns = 0;  // K
  std::int64_t group_size =
      0;  // in columns, a multiple of 8; padded_columns() when there is one group
  std::int64_t groups = 1;
  int symmetric_zero = 128;  // z of every group when `zeros` is undefined
  Tensor data;               // uint8 [panels, padded_columns * 16 * bits / 8]
  Tensor scales;             // float32 [panels, groups, 16]
  Tensor zeros;              // uint8 [panels, groups, 16], z above; undefined when symmetric

  std::int64_t panels() const { return (outputs + kPanel - 1) / kPanel; }
  // K rounded up to a multiple of 8; groups * group_size.
  std::int64_t padded_columns() const { return group_size * groups; }
  std::size_t nbytes() const {
    return data.nbytes() + scales.nbytes() + (zeros.defined() ? zeros.nbytes() : 0);
  }
};

// Packs 4- or 8-bit values (2 and 3 bits are widened to 4). A group size that is not a multiple of
// 8 is error kUnsupported; the last group may be short.
PackedWeights pack_weights(const QuantizedMatrix& matrix);

// float32 [outputs, columns]: what the packed bytes stand for.
Tensor unpack_to_f32(const PackedWeights& packed);

}  // namespace aquatint
