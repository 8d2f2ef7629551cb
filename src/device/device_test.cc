// Names of devices, and what is said without a GPU; with one, memory, copies and captured work.
#include "device/device.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "device/cuda_library.h"
#include "device/device_memory.h"
#include "device/stream.h"

namespace aquatint {
namespace {

ErrorKind kind_of(const std::string& text, std::string* message = nullptr) {
  try {
    parse_device(text);
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.kind();
  }
  return ErrorKind::kInterrupted;
}

TEST(Device, HasNames) {
  EXPECT_EQ(parse_device("cpu").str(), "cpu");
  EXPECT_EQ(parse_device("auto").is_cuda(), cuda_device_count() > 0);
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CUDA", "cuda0"}) {
    EXPECT_EQ(kind_of(text), ErrorKind::kInvalidArgument) << text;
  }
}

TEST(Device, SaysWhyThereIsNoGpu) {
  if (cuda_device_count() > 0) {
    EXPECT_EQ(parse_device("cuda"), (Device{DeviceKind::kCuda, 0}));
    EXPECT_EQ(kind_of("cuda:999"), ErrorKind::kDevice);
    return;
  }
  std::string message;
  EXPECT_EQ(kind_of("cuda", &message), ErrorKind::kDevice);
  EXPECT_EQ(message, "device 'cuda': " + cuda::unavailable_reason());
  EXPECT_FALSE(cuda::unavailable_reason().empty());
}

TEST(Stream, OfTheCpuRunsAtOnce) {
  Stream& stream = Stream::cpu();
  std::vector<int> from = {1, 2, 3}, to(3);
  stream.copy(to.data(), from.data(), sizeof(int) * 3);
  EXPECT_EQ(to, from);
  stream.zero(to.data(), sizeof(int) * 2);
  EXPECT_EQ(to, (std::vector<int>{0, 0, 3}));
  stream.check_finite();
  stream.synchronize();
}

class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }
  const Device gpu_{DeviceKind::kCuda, 0};
};

TEST_F(Gpu, UploadsAndCopiesBack) {
  Stream& stream = Stream::of(gpu_);
  std::vector<std::int32_t> from(10'000'001), to(from.size());  // more than the pinned buffers
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::int32_t>(i * 7);
  const std::size_t bytes = from.size() * sizeof(std::int32_t);
  const auto memory = allocate_on(gpu_, bytes);
  stream.upload(memory.get(), from.data(), bytes);
  stream.copy(to.data(), memory.get(), bytes);
  stream.synchronize();
  EXPECT_EQ(from, to);
}

TEST_F(Gpu, MemoryIsKeptForReuseAndLimited) {
  void* first = nullptr;
  {
    const auto memory = allocate_on(gpu_, 3 << 20);
    first = memory.get();
    EXPECT_GE(device_memory(gpu_).used_bytes, 3 << 20);
  }
  EXPECT_GE(device_memory(gpu_).cached_bytes, 3 << 20);
  EXPECT_EQ(allocate_on(gpu_, 3 << 20).get(), first);
  release_cached_device_memory(gpu_);
  EXPECT_EQ(device_memory(gpu_).cached_bytes, 0);
  set_device_memory_limit(gpu_, device_memory(gpu_).used_bytes + (8 << 20));
  EXPECT_NO_THROW(allocate_on(gpu_, 7 << 20));
  try {
    allocate_on(gpu_, 9 << 20);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
    EXPECT_NE(std::string(error.what()).find("9.0 MiB more are needed"), std::string::npos)
        << error.what();
  }
  set_device_memory_limit(gpu_, 0);
  EXPECT_THROW(allocate_on(gpu_, std::size_t{1} << 50), Error);
  EXPECT_NO_THROW(allocate_on(gpu_, 9 << 20));  // a refusal breaks nothing
}

TEST_F(Gpu, CapturedWorkRunsAgain) {
  Stream& stream = Stream::of(gpu_);
  const auto a = allocate_on(gpu_, 64), b = allocate_on(gpu_, 64);
  stream.zero(b.get(), 64);
  stream.begin_capture();
  stream.copy(b.get(), a.get(), 64);
  const auto graph = stream.end_capture();
  std::vector<int> values(16, 5), seen(16);
  stream.copy(a.get(), values.data(), 64);
  stream.copy(seen.data(), b.get(), 64);
  stream.synchronize();
  EXPECT_EQ(seen[3], 0);
  stream.run(*graph);
  stream.copy(seen.data(), b.get(), 64);
  stream.synchronize();
  EXPECT_EQ(seen, values);
}

}  // namespace
}  // namespace aquatint
