// What a forward pass carries along: scratch memory and, when someone is watching, the taps. Every
// matrix product reports its input through Linear and mixers report their inner tensors, so nothing
// that could be quantized can bypass an observer.
#pragma once

#include <cstdint>
#include <string>

#include "layers/workspace.h"

namespace aquatint {

// Receives float32 values at named points of the forward pass: "<module>.input" and
// "<module>.output" of each Linear, "<mixer>.<name>" of what mixers make inside (q, k, v, o; x, dt,
// b, c, z), "hidden.<n>" between blocks.
class TapSink {
 public:
  virtual ~TapSink() = default;
  virtual bool wants(const std::string& name) = 0;
  // values: [rows, columns], row-major, valid during the call only.
  virtual void record(const std::string& name, const float* values, std::int64_t rows,
                      std::int64_t columns) = 0;
};

struct ForwardContext {
  Workspace& workspace;
  TapSink* taps = nullptr;

  // The device that runs this pass, where the workspace is.
  Stream& stream() const { return workspace.stream(); }
  // Reports values to the sink if it wants them; `suffix` is appended to the name only then.
  void tap(const std::string& name, const char* suffix, const float* values, std::int64_t rows,
           std::int64_t columns) const;
  // The same for rows that lie ld values apart in the host's memory.
  void tap(const std::string& name, const char* suffix, const float* values, std::int64_t rows,
           std::int64_t columns, std::int64_t ld) const;
};

}  // namespace aquatint
