// Where work is queued. Every operation of a model takes a Stream: on the CPU it runs at once, on a
// GPU it is queued and runs in order, so that the host prepares the next operations meanwhile. A
// device has one stream; that order is what makes reuse of memory safe. A GPU's is not for use from
// several threads at a time; the CPU's keeps nothing.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "device/cuda_launch.h"
#include "device/device.h"

namespace aquatint {

// Work that was captured from a stream, to be run again without preparing it again. The memory it
// uses must still be there when it runs.
class StreamGraph {
 public:
  explicit StreamGraph(void* graph) : graph_(graph) {}
  ~StreamGraph();
  StreamGraph(const StreamGraph&) = delete;
  StreamGraph& operator=(const StreamGraph&) = delete;

 private:
  friend class Stream;
  void* graph_;
};

class Stream {
 public:
  // The stream of a device, opened on first use. Error kDevice if that fails.
  static Stream& of(Device device);
  static Stream& cpu() { return of(Device{}); }
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  bool is_cuda() const { return device_.is_cuda(); }

  // Waits for everything queued. Error kDevice if any of it failed.
  void synchronize();
  // Copies between any memories of the host and this device. To or from pageable host memory it
  // returns when that memory may be changed or read again.
  void copy(void* to, const void* from, std::size_t bytes);
  // Copies much host memory, maybe of a mapped file, to the device through pinned buffers.
  void upload(void* to, const void* from, std::size_t bytes);
  void zero(void* to, std::size_t bytes);

  // The mark a kernel leaves when an input of `name` holds NaN or infinity; always above 0.
  int fault_tag(const std::string& name);
  // Waits. Error kNumeric naming the first input that held NaN or infinity since the last call.
  void check_finite();

  // Operations between these become a graph and do not run. Nothing may wait meanwhile.
  void begin_capture();
  std::unique_ptr<StreamGraph> end_capture();
  void run(const StreamGraph& graph);

  // What kernels are started with. REQUIRES: a GPU.
  CudaLaunch launch(int tag = 0) const;

 private:
  struct Staging {
    void* memory = nullptr;  // pinned
    void* event = nullptr;
    bool in_flight = false;
  };
  explicit Stream(Device device);

  Device device_;
  CudaLaunch launch_;
  std::vector<Staging> staging_;
  std::vector<std::string> fault_names_;
  std::unordered_map<std::string, int> fault_tags_;
};

}  // namespace aquatint
