#include "device/stream.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "base/error.h"
#include "device/cuda_library.h"

namespace aquatint {
namespace {

constexpr std::size_t kStagingBytes = std::size_t{8} << 20;
constexpr std::size_t kStagingBuffers = 2;

}  // namespace

StreamGraph::~StreamGraph() {
  static_cast<void>(cuda::runtime()->destroy_graph(graph_));
}

Stream& Stream::of(Device device) {
  static std::mutex mutex;
  // To the end of the program: the driver is gone before static storage is torn down.
  static auto* streams = new std::map<int, Stream*>;
  const std::lock_guard lock(mutex);
  Stream*& found = (*streams)[device.is_cuda() ? device.index : -1];
  if (found == nullptr) found = new Stream(device);
  return *found;
}

Stream::Stream(Device device) : device_(device) {
  if (!is_cuda()) return;
  AQUATINT_ASSERT(cuda::runtime() != nullptr);
  cuda::check(cuda::runtime()->open_stream(device.index, &launch_),
              fmt::format("'{}' cannot be opened", device.str()));
}

Stream::~Stream() {
  if (!is_cuda()) return;
  for (const Staging& buffer : staging_) {
    static_cast<void>(cuda::runtime()->destroy_event(buffer.event));
    static_cast<void>(cuda::runtime()->release_pinned(buffer.memory));
  }
  static_cast<void>(cuda::runtime()->close_stream(&launch_));
}

void Stream::synchronize() {
  if (is_cuda()) cuda::check(cuda::runtime()->synchronize(&launch_), device_.str());
}

void Stream::copy(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (is_cuda()) {
    cuda::check(cuda::runtime()->copy(&launch_, to, from, bytes), device_.str());
  } else {
    std::memcpy(to, from, bytes);
  }
}

void Stream::upload(void* to, const void* from, std::size_t bytes) {
  if (!is_cuda() || bytes < kStagingBytes / 8) {
    copy(to, from, bytes);
    return;
  }
  while (staging_.size() < kStagingBuffers) {
    Staging buffer;
    cuda::check(cuda::runtime()->allocate_pinned(kStagingBytes, &buffer.memory), device_.str());
    cuda::check(cuda::runtime()->create_event(&buffer.event), device_.str());
    staging_.push_back(buffer);
  }
  std::size_t next = 0;
  for (std::size_t done = 0; done < bytes;) {
    Staging& buffer = staging_[next];
    next = (next + 1) % staging_.size();
    if (buffer.in_flight) cuda::check(cuda::runtime()->wait_event(buffer.event), device_.str());
    const std::size_t n = std::min(kStagingBytes, bytes - done);
    std::memcpy(buffer.memory, static_cast<const std::byte*>(from) + done, n);
    copy(static_cast<std::byte*>(to) + done, buffer.memory, n);
    cuda::check(cuda::runtime()->record_event(&launch_, buffer.event), device_.str());
    buffer.in_flight = true;
    done += n;
  }
}

void Stream::zero(void* to, std::size_t bytes) {
  if (bytes == 0) return;
  if (is_cuda()) {
    cuda::check(cuda::runtime()->fill_zero(&launch_, to, bytes), device_.str());
  } else {
    std::memset(to, 0, bytes);
  }
}

int Stream::fault_tag(const std::string& name) {
  if (!is_cuda()) return 1;  // kernels of the CPU answer at once; and any thread may ask
  const auto [found, added] = fault_tags_.emplace(name, static_cast<int>(fault_names_.size()) + 1);
  if (added) fault_names_.push_back(name);
  return found->second;
}

void Stream::check_finite() {
  if (!is_cuda()) return;
  int tag = 0;
  copy(&tag, launch_.fault, sizeof(tag));
  synchronize();
  if (tag == 0) return;
  zero(launch_.fault, sizeof(int));
  synchronize();
  raise(ErrorKind::kNumeric, "'{}': its input holds NaN or infinity",
        fault_names_.at(static_cast<std::size_t>(tag) - 1));
}

void Stream::begin_capture() {
  cuda::check(cuda::runtime()->begin_capture(&launch_), device_.str());
}

std::unique_ptr<StreamGraph> Stream::end_capture() {
  void* graph = nullptr;
  cuda::check(cuda::runtime()->end_capture(&launch_, &graph), device_.str());
  return std::make_unique<StreamGraph>(graph);
}

void Stream::run(const StreamGraph& graph) {
  cuda::check(cuda::runtime()->launch_graph(&launch_, graph.graph_), device_.str());
}

CudaLaunch Stream::launch(int tag) const {
  AQUATINT_ASSERT(is_cuda());
  CudaLaunch result = launch_;
  result.tag = tag;
  return result;
}

}  // namespace aquatint
