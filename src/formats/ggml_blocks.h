// The element types of GGUF files: names, sizes, and the expansion of their blocks to float32. A
// quantized type holds blocks of 32 or 256 neighbouring values of a row with scales of their own;
// the layouts are in docs/formats/gguf.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace aquatint {

// Writes the values of `blocks` blocks, which need not be aligned. Each value is what the format
// defines, in float32 arithmetic in the order of its formula.
using ExpandBlocks = void (*)(const std::byte* from, std::int64_t blocks, float* to);

struct GgmlType {
  std::uint32_t id;
  const char* name;     // "Q4_K"
  std::int64_t values;  // of a block
  std::int64_t bytes;   // of a block
  ExpandBlocks expand;  // null for plain types and those that are only known by their size
};

// Null for a type that is not known.
const GgmlType* find_ggml_type(std::uint32_t id);
const GgmlType* find_ggml_type(const char* name);

void expand_q4_0(const std::byte* from, std::int64_t blocks, float* to);
void expand_q4_1(const std::byte* from, std::int64_t blocks, float* to);
void expand_q5_0(const std::byte* from, std::int64_t blocks, float* to);
void expand_q5_1(const std::byte* from, std::int64_t blocks, float* to);
void expand_q8_0(const std::byte* from, std::int64_t blocks, float* to);
void expand_q4_k(const std::byte* from, std::int64_t blocks, float* to);
void expand_q5_k(const std::byte* from, std::int64_t blocks, float* to);
void expand_q6_k(const std::byte* from, std::int64_t blocks, float* to);

}  // namespace aquatint
