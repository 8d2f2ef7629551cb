#include "runtime/ceilings.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "base/threads.h"
#include "kernels/matmul/matmul.h"

namespace aquatint {
namespace {

using Clock = std::chrono::steady_clock;

// Best of several timings of `work`, in seconds.
template <typename Work>
double best_seconds(int tries, const Work& work) {
  double best = 1e30;
  for (int i = 0; i < tries; ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

double measure_read_bandwidth() {
  constexpr std::int64_t kBytes = std::int64_t{1} << 29;
  const Tensor memory = Tensor::zeros({kBytes / 8}, DType::kI64);
  const auto* words = memory.data<std::int64_t>();
  std::int64_t sums[256] = {};
  const double seconds = best_seconds(5, [&] {
    parallel_for(kBytes / 8, 4096, [&](std::int64_t begin, std::int64_t end) {
      std::int64_t sum[16] = {};
      for (std::int64_t i = begin; i + 16 <= end; i += 16) {
        for (int j = 0; j < 16; ++j) sum[j] ^= words[i + j];
      }
      for (int j = 1; j < 16; ++j) sum[0] ^= sum[j];
      sums[begin * 200 / (kBytes / 8)] = sum[0];
    });
  });
  volatile std::int64_t used = sums[0] ^ sums[100];  // so that the reads are not dropped
  (void)used;
  return static_cast<double>(kBytes) / seconds;
}

Ceilings cpu_ceilings() {
  constexpr std::int64_t kM = 512, kN = 2048, kK = 2048;
  constexpr double kOps = 2.0 * kM * kN * kK;
  constexpr int kTries = 8;
  Ceilings ceilings;
  ceilings.read_bytes_per_second = measure_read_bandwidth();
  const Tensor weight = Tensor::zeros({kN, kK}, DType::kF32);
  const Tensor x = Tensor::zeros({kM, kK}, DType::kF32);
  const Tensor y = Tensor::zeros({kM, kN}, DType::kF32);
  const auto f32 = kernels::DenseWeights::pack(weight, kernels::DenseType::kF32);
  ceilings.f32_flops =
      kOps / best_seconds(kTries, [&] {
        kernels::matmul_f32(x.data<float>(), kM, f32, nullptr, y.mutable_data<float>(), kN);
      });
  const auto bf16 = kernels::DenseWeights::pack(weight, kernels::DenseType::kBF16);
  const Tensor x16 = x.to(DType::kBF16);
  if (bf16.type() == kernels::DenseType::kBF16) {
    ceilings.bf16_flops = kOps / best_seconds(kTries, [&] {
                            kernels::matmul_bf16(x16.data<std::uint16_t>(), kM, bf16, nullptr,
                                                 y.mutable_data<float>(), kN);
                          });
  }
  const Tensor w8 = Tensor::zeros({kN, kK}, DType::kI8);
  const Tensor x8 = Tensor::zeros({kM, kK}, DType::kU8);
  const Tensor y32 = Tensor::zeros({kM, kN}, DType::kI32);
  const auto int8 = kernels::Int8Weights::pack(w8.data<std::int8_t>(), kN, kK);
  ceilings.int8_ops =
      kOps / best_seconds(kTries, [&] {
        kernels::matmul_u8s8(x8.data<std::uint8_t>(), kM, int8, y32.mutable_data<std::int32_t>());
      });
  return ceilings;
}

// A matrix on the device of random bytes, or of random float32 or bfloat16 values between 1 and 2
// of either sign. Not zeros, on which GPUs draw less power and run faster.
Tensor random_matrix(Stream& stream, std::int64_t n, DType dtype) {
  const Tensor host = Tensor::empty({n, n}, dtype);
  std::mt19937_64 random(1);
  const auto words = static_cast<std::int64_t>(host.nbytes() / 8);
  auto* out = reinterpret_cast<std::uint64_t*>(host.mutable_bytes());
  // Exponents that are fixed, and sign and mantissa bits that are not.
  std::uint64_t fixed = 0, varied = ~std::uint64_t{0};
  if (dtype == DType::kBF16) {
    fixed = 0x3f803f803f803f80u;
    varied = 0x807f807f807f807fu;
  } else if (dtype == DType::kF32) {
    fixed = 0x3f8000003f800000u;
    varied = 0x807fffff807fffffu;
  }
  for (std::int64_t i = 0; i < words; ++i) out[i] = fixed | (random() & varied);
  return host.on(stream);
}

Ceilings gpu_ceilings(Stream& stream) {
  constexpr std::int64_t kN = 8192, kSmallN = 4096, kCopy = std::int64_t{1} << 30;
  constexpr int kTries = 10;
  const auto ops = [](std::int64_t n) { return 2.0 * static_cast<double>(n * n * n); };
  const auto timed = [&](const auto& work) {
    return best_seconds(kTries, [&] {
      work();
      stream.synchronize();
    });
  };
  Ceilings ceilings;
  {
    const Tensor from = Tensor::empty({kCopy}, DType::kU8, stream.device());
    const Tensor to = Tensor::empty({kCopy}, DType::kU8, stream.device());
    stream.zero(from.mutable_bytes(), kCopy);
    ceilings.read_bytes_per_second = 2.0 * static_cast<double>(kCopy) / timed([&] {
                                       stream.copy(to.mutable_bytes(), from.bytes(), kCopy);
                                     });
  }
  const Tensor y = Tensor::empty({kN, kN}, DType::kF32, stream.device());
  const Tensor a16 = random_matrix(stream, kN, DType::kBF16);
  ceilings.bf16_flops = ops(kN) / timed([&] {
                          const auto* a = a16.data<std::uint16_t>();
                          kernels::matmul_bf16_gpu(stream, {a, kN, kN, a, kN, kN, kN}, nullptr,
                                                   y.mutable_data<float>(), kN, false);
                        });
  const Tensor a8 = random_matrix(stream, kN, DType::kI8);
  ceilings.int8_ops = ops(kN) / timed([&] {
                        auto* out = reinterpret_cast<std::int32_t*>(y.mutable_bytes());
                        const auto* a = a8.data<std::int8_t>();
                        kernels::matmul_int8_gpu(stream, {a, kN, kN, a, kN, kN, kN}, out);
                      });
  const Tensor x32 = random_matrix(stream, kSmallN, DType::kF32);
  const auto w32 = kernels::DenseWeights::pack(stream, x32, kernels::DenseType::kF32);
  ceilings.f32_flops = ops(kSmallN) / timed([&] {
                         kernels::matmul_f32(stream, x32.data<float>(), kSmallN, w32, nullptr,
                                             y.mutable_data<float>(), kSmallN);
                       });
  return ceilings;
}

}  // namespace

Ceilings measure_ceilings(Device device) {
  return device.is_cuda() ? gpu_ceilings(Stream::of(device)) : cpu_ceilings();
}

}  // namespace aquatint
