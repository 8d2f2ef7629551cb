#include "formats/npz_file.h"

#include <fmt/format.h>
#include <zip.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/atomic_file.h"

static_assert(std::endian::native == std::endian::little);  // "<f4"

namespace aquatint {
namespace {

// The first date that a ZIP archive can hold, for every file, so that bytes do not tell the time.
constexpr std::uint16_t kDosDate = 1 << 5 | 1;

// Version 1.0 of numpy.lib.format: the header is padded so that the data is aligned to 64 bytes.
std::string npy_bytes(const NpzArray& array) {
  std::string shape;
  for (const std::int64_t n : array.shape) shape += fmt::format("{}, ", n);
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", array.type, shape);
  constexpr std::size_t kPrefix = 10, kAlignment = 64;
  while ((kPrefix + header.size() + 1) % kAlignment != 0) header += ' ';
  header += '\n';
  AQUATINT_ASSERT(header.size() < 0x10000);
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + array.bytes;
}

// Decodes what the JSON library, which writes nothing else, has found to be UTF-8.
std::u32string code_points(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    raise(ErrorKind::kInvalidArgument, "'{}' is not valid UTF-8", text);
  }
  std::u32string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0) == 0x80) {
      out.back() = out.back() << 6 | (byte & 0x3f);
    } else {
      out += byte < 0x80 ? byte : byte & (byte >= 0xf0 ? 0x07 : byte >= 0xe0 ? 0x0f : 0x1f);
    }
  }
  return out;
}

struct Discard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_source_t* source) const { zip_source_free(source); }
};
using Archive = std::unique_ptr<zip_t, Discard>;
using Source = std::unique_ptr<zip_source_t, Discard>;

[[noreturn]] void raise_zip(const std::filesystem::path& path, const char* reason) {
  raise(ErrorKind::kIo, "'{}': cannot make the archive: {}", path.string(), reason);
}

void add_stored(zip_t* archive, const std::string& name, const std::string& bytes) {
  zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
  const zip_int64_t index =
      source == nullptr ? -1 : zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    zip_source_free(source);
    return;  // zip_close tells why
  }
  const auto i = static_cast<zip_uint64_t>(index);
  zip_set_file_compression(archive, i, ZIP_CM_STORE, 0);
  zip_file_set_dostime(archive, i, 0, kDosDate, 0);
}

std::string content_of(zip_source_t* source) {
  zip_stat_t status;
  std::string bytes;
  if (zip_source_stat(source, &status) != 0 || zip_source_open(source) != 0) return bytes;
  bytes.resize(status.size);
  const zip_int64_t read = zip_source_read(source, bytes.data(), bytes.size());
  zip_source_close(source);
  bytes.resize(static_cast<std::size_t>(std::max<zip_int64_t>(read, 0)));
  return bytes;
}

}  // namespace

NpzArray npz_floats(const std::string& name, std::span<const float> values) {
  return {name,
          "<f4",
          {static_cast<std::int64_t>(values.size())},
          std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes())};
}

NpzArray npz_float(const std::string& name, float value) {
  NpzArray array = npz_floats(name, {&value, 1});
  array.shape.clear();
  return array;
}

NpzArray npz_strings(const std::string& name, std::span<const std::string> values) {
  std::vector<std::u32string> decoded;
  std::size_t longest = 1;
  for (const std::string& value : values) {
    decoded.push_back(code_points(value));
    longest = std::max(longest, decoded.back().size());
  }
  std::string bytes;
  for (std::u32string& text : decoded) {
    text.resize(longest);
    bytes.append(reinterpret_cast<const char*>(text.data()), longest * sizeof(char32_t));
  }
  return {name, fmt::format("<U{}", longest), {static_cast<std::int64_t>(values.size())}, bytes};
}

void write_npz(const std::filesystem::path& path, const std::vector<NpzArray>& arrays) {
  std::vector<std::string> contents;
  for (const NpzArray& array : arrays) contents.push_back(npy_bytes(array));
  zip_error_t error;
  zip_error_init(&error);
  const Source memory(zip_source_buffer_create(nullptr, 0, 0, &error));
  if (memory == nullptr) raise_zip(path, zip_error_strerror(&error));
  zip_source_keep(memory.get());  // one reference for the archive, one to read what it wrote
  Archive archive(zip_open_from_source(memory.get(), ZIP_TRUNCATE, &error));
  if (archive == nullptr) {
    zip_source_free(memory.get());
    raise_zip(path, zip_error_strerror(&error));
  }
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    add_stored(archive.get(), arrays[i].name + ".npy", contents[i]);
  }
  const auto added = static_cast<std::size_t>(zip_get_num_entries(archive.get(), 0));
  if (added != arrays.size() || zip_close(archive.get()) != 0) {
    raise_zip(path, zip_error_strerror(zip_get_error(archive.get())));
  }
  (void)archive.release();  // zip_close has freed it
  write_text_file(path, content_of(memory.get()));
}

}  // namespace aquatint
