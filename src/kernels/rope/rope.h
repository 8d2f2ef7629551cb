// Rotary position embedding in the half-rotation pairing (i, i + d/2) of Llama and its kin, applied
// in place to queries or keys. Sines and cosines are computed once per row and shared by its heads.
#pragma once

#include <cstdint>
#include <vector>

#include "device/stream.h"

namespace aquatint::kernels {

// Rotates x [rows, heads * head_dim] in place: with the angle a = positions[row] * inv_freq[i],
// pair (u, v) at (i, i + head_dim/2) becomes (u cos a - v sin a, v cos a + u sin a). The product a
// is rounded to float32 as the reference models do; its sine and cosine are exact to float32.
// inv_freq is [head_dim / 2]. Error kInvalidArgument for an odd head_dim, negative sizes or missing
// arrays.
void rope(float* x, std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
          const std::int32_t* positions, const float* inv_freq);

// The same on the stream's device, where all pointers are.
void rope(Stream& stream, float* x, std::int64_t rows, std::int64_t heads, std::int64_t head_dim,
          const std::int32_t* positions, const float* inv_freq);

// theta^(-2i / head_dim) for i in [0, head_dim / 2), computed in double. Error kInvalidArgument for
// an odd or non-positive head_dim or a theta that is not a positive finite number.
std::vector<float> rope_inverse_frequencies(std::int64_t head_dim, double theta);

}  // namespace aquatint::kernels
