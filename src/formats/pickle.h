// Reads a Python pickle as data. A pickle is a program that may call any function of any Python
// module; here nothing is called. The result is a tree of values in which a call is a node that
// says what would be called with which arguments, and a name that is not on the caller's list is an
// error at once. Only what PyTorch's checkpoints are made of is understood: protocols 2 to 5,
// without classes, instances or extensions (docs/formats/torch.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint {

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kBigInt,  // beyond 64 bits: `text` has its bytes, little endian, two's complement
  kFloat,
  kString,
  kBytes,
  kTuple,
  kList,  // and sets
  kDict,
  kGlobal,      // `text` is "module.name", one of the allowed
  kCall,        // items[0] is a kGlobal, items[1] the tuple of its arguments
  kPersistent,  // items[0] is the id of something that lies outside the pickle
};

// A value's place in Pickle::values.
using PickleIndex = std::uint32_t;

struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  std::int64_t integer = 0;  // of kBool and kInt
  double number = 0;         // of kFloat
  std::string_view text;     // in the file
  // Of containers, the elements; of a dict, key and value in turn. A call that is given elements
  // afterwards, as OrderedDict is, has them here as key and value in turn behind its two items.
  std::vector<PickleIndex> items;
};

struct Pickle {
  std::vector<PickleValue> values;  // may refer to each other in any way, in cycles too
  PickleIndex root = 0;
  std::size_t end = 0;  // of the pickle in the file, where the next may begin

  const PickleValue& operator[](PickleIndex index) const { return values[index]; }
};

// Reads the pickle that begins at `begin`. `allowed` are the "module.name" it may refer to;
// `origin` is what error messages call the file. What is allocated is bounded by the bytes that
// are really there. Error kCorrupt for what is no pickle, kUnsupported naming what it tried for one
// that asks for more than data.
Pickle read_pickle(std::span<const std::byte> file, std::size_t begin,
                   std::span<const std::string_view> allowed, const std::string& origin);

}  // namespace aquatint
