// NumPy's .npz: a ZIP archive of stored .npy arrays, which numpy.load reads without pickle. Equal
// arrays make equal bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace aquatint {

struct NpzArray {
  std::string name;                 // the key in Python
  std::string type;                 // as NumPy writes it: "<f4", "<U12"
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::string bytes;                // row-major
};

NpzArray npz_floats(const std::string& name, std::span<const float> values);
NpzArray npz_float(const std::string& name, float value);
// Strings of Unicode. Error kInvalidArgument for text that is not UTF-8.
NpzArray npz_strings(const std::string& name, std::span<const std::string> values);

// Appears complete or not at all. REQUIRES: different names. Error kIo.
void write_npz(const std::filesystem::path& path, const std::vector<NpzArray>& arrays);

}  // namespace aquatint
