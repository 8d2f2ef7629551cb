// The kernel bodies of quantize_rows, one pair per instruction set; only quantize_rows.cc calls
// them.
#pragma once

#include <cstdint>

namespace aquatint::kernels {

// What a kernel body gets; the fields are the arguments above.
struct QuantizeRowsInt8Args {
  const float* x;
  std::int64_t columns, group_size, groups;
  std::int8_t* values;
  float* scales;
  std::int32_t* group_sums;
};
struct QuantizeRowsStaticArgs {
  const float* x;
  std::int64_t columns, group_size, groups;
  float factor;  // 1 / scale
  std::int32_t zero_point;
  std::int8_t* values;
  std::int32_t* group_sums;
};
struct RoundRowsBf16Args {
  const float* x;
  std::int64_t columns, group_size, groups;
  std::uint16_t* values;
  float* group_sums;
};
// Rows [begin, end); false as above.
using QuantizeRowsInt8Fn = bool (*)(const QuantizeRowsInt8Args&, std::int64_t begin,
                                    std::int64_t end) noexcept;
using QuantizeRowsStaticFn = bool (*)(const QuantizeRowsStaticArgs&, std::int64_t begin,
                                      std::int64_t end) noexcept;
using RoundRowsBf16Fn = bool (*)(const RoundRowsBf16Args&, std::int64_t begin,
                                 std::int64_t end) noexcept;

bool quantize_rows_int8_reference(const QuantizeRowsInt8Args& a, std::int64_t begin,
                                  std::int64_t end) noexcept;
bool quantize_rows_int8_avx2(const QuantizeRowsInt8Args& a, std::int64_t begin,
                             std::int64_t end) noexcept;
bool quantize_rows_int8_avx512(const QuantizeRowsInt8Args& a, std::int64_t begin,
                               std::int64_t end) noexcept;
bool quantize_rows_static_reference(const QuantizeRowsStaticArgs& a, std::int64_t begin,
                                    std::int64_t end) noexcept;
bool quantize_rows_static_avx2(const QuantizeRowsStaticArgs& a, std::int64_t begin,
                               std::int64_t end) noexcept;
bool quantize_rows_static_avx512(const QuantizeRowsStaticArgs& a, std::int64_t begin,
                                 std::int64_t end) noexcept;
bool round_rows_bf16_reference(const RoundRowsBf16Args& a, std::int64_t begin,
                               std::int64_t end) noexcept;
bool round_rows_bf16_avx2(const RoundRowsBf16Args& a, std::int64_t begin,
                          std::int64_t end) noexcept;
bool round_rows_bf16_avx512(const RoundRowsBf16Args& a, std::int64_t begin,
                            std::int64_t end) noexcept;

// Scaled values are cut to this before they are rounded to integers, beyond every zero point.
inline constexpr float kStaticLimit = 512.0F;

}  // namespace aquatint::kernels
