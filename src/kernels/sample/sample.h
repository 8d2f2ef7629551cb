// Chooses a token for each row of logits. The filters apply in the order of the Hugging Face
// generation loop: repetition penalty, temperature, top-k, top-p, min-p. All arithmetic after the
// logits is in integers (sample_arithmetic.h): the same logits and random bits give the same token
// on every device. docs/kernels/sample.md has the method.
#pragma once

#include <cstdint>

#include "device/stream.h"
#include "kernels/sample/sample_row.h"

namespace aquatint::kernels {

// What stands in the place of a token where the row's logits hold NaN.
inline constexpr std::int32_t kNoToken = -1;

// tokens[i] = the token that how[i] chooses of logits[i, :allowed], or kNoToken; i < rows. logits
// [rows, ld]; the penalty changes them in place, and those from `allowed` on are not looked at.
// `seen` holds the tokens that the rows refer to; null if they refer to none. Equally likely tokens
// come in the order of their ids. All pointers are on the stream's device. REQUIRES: 0 < allowed <=
// ld, allowed <= 2^23.
void sample(Stream& stream, float* logits, std::int64_t rows, std::int64_t ld, std::int64_t allowed,
            const SampleRow* how, const std::int32_t* seen, std::int32_t* tokens);

namespace detail {

// One row: the specification, and what runs on the CPU.
std::int32_t sample_row_reference(float* logits, std::int64_t allowed, const SampleRow& how,
                                  const std::int32_t* seen);

}  // namespace detail
}  // namespace aquatint::kernels
