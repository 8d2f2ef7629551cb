// Hidden values of all calibration sequences between two blocks: in memory, or in a temporary file
// when they are larger than a budget. The file never has a name for long, so nothing of it stays
// behind however the program ends.
#pragma once

#include <cstdint>
#include <filesystem>

#include "tensor/tensor.h"

namespace aquatint {

class HiddenValues {
 public:
  // Room for float32 [rows, columns]; more than memory_bytes of it is a file in `folder` (empty:
  // the system's folder for temporary files). Error kOutOfMemory when the disk has no room for it,
  // kIo when it cannot be made.
  HiddenValues(std::int64_t rows, std::int64_t columns, std::int64_t memory_bytes,
               const std::filesystem::path& folder);
  ~HiddenValues();
  HiddenValues(const HiddenValues&) = delete;
  HiddenValues& operator=(const HiddenValues&) = delete;

  // Memory for rows [first, first + n), valid until the next call: as they are after load(), to be
  // written after place(). store() makes what was changed there the rows.
  float* load(std::int64_t first, std::int64_t n);
  float* place(std::int64_t first, std::int64_t n);
  void store();

  bool in_file() const { return file_ >= 0; }

 private:
  void make_file(std::int64_t bytes);
  [[noreturn]] void raise_full(std::int64_t bytes) const;
  [[noreturn]] void raise_errno(const char* what, int code) const;

  std::int64_t columns_;
  std::filesystem::path folder_;
  int file_ = -1;
  Tensor values_;  // all rows, or those last asked for of the file
  std::int64_t first_ = 0, rows_ = 0;
};

}  // namespace aquatint
