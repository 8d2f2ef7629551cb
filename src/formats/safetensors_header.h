// The two halves of reading a safetensors header, apart because each is long enough: the JSON with
// its shape of objects, and the arithmetic of types, sizes and offsets.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint::detail {

// One entry of the header as written; nothing but the JSON types has been checked.
struct RawTensor {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  // data_offsets
};

struct RawHeader {
  std::vector<RawTensor> tensors;  // in the order of the file
  std::map<std::string, std::string> metadata;
};

// Reads the JSON text of a header. Error kCorrupt: not JSON or not UTF-8, wrong types, missing,
// unknown or repeated keys, repeated tensor names.
RawHeader parse_header_json(std::string_view text, const std::string& origin);

// Bits of one element of a safetensors type; 0 for a name the format does not have.
unsigned safetensors_dtype_bits(std::string_view name);

}  // namespace aquatint::detail
