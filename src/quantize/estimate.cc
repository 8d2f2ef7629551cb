#include "quantize/estimate.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/hash.h"
#include "quantize/rounding.h"

namespace aquatint {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSampleBytes = std::int64_t{8} << 20;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The largest tensor that is rounded, or that is copied when none is.
const TensorPlan* typical(const Plan& plan) {
  const TensorPlan* best = nullptr;
  for (const TensorPlan& t : plan.tensors) {
    if (t.bytes_before == 0 || t.spec->shape.rank() != 2) continue;  // a tied head is a table
    const bool better =
        best == nullptr || (t.scheme && !best->scheme) ||
        (t.scheme.has_value() == best->scheme.has_value() && t.bytes_before > best->bytes_before);
    if (better) best = &t;
  }
  return best;
}

// Seconds per byte of reading and rounding `rows`.
double work_seconds_per_byte(const TensorPlan& t, const Tensor& rows, Stream& stream) {
  const Stopwatch watch;
  Hasher hasher;
  hasher.update(rows.bytes(), rows.nbytes());
  check_finite(rows, t.spec->name);
  if (t.scheme) {
    const QuantizedMatrix matrix =
        find_rounding(t.rounding).round(rows, t.scheme->weights, t.dtype, stream);
    to_compressed_tensors(t.spec->module(), *t.scheme, matrix, t.dtype);
  }
  return watch.seconds() / static_cast<double>(std::max<std::size_t>(1, rows.nbytes()));
}

// Seconds per byte of writing to the disk that holds `output`; 0 where no file without a name can
// be made.
double write_seconds_per_byte(const fs::path& output, const Tensor& sample) {
  std::error_code error;
  fs::path folder = fs::absolute(output, error).parent_path();
  while (!fs::is_directory(folder, error) && folder != folder.parent_path()) {
    folder = folder.parent_path();
  }
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return 0;
  const Stopwatch watch;
  const ssize_t written = ::write(fd, sample.bytes(), sample.nbytes());
  const bool synced = ::fdatasync(fd) == 0;
  const double seconds = watch.seconds();
  ::close(fd);
  return written > 0 && synced ? seconds / static_cast<double>(written) : 0;
}

}  // namespace

double estimate_seconds(const Checkpoint& checkpoint, const Plan& plan,
                        const std::filesystem::path& output, Device device) {
  const TensorPlan* t = typical(plan);
  if (t == nullptr) return 0;
  const Tensor whole = checkpoint.tensor(t->spec->name);
  const std::int64_t row_bytes =
      static_cast<std::int64_t>(whole.nbytes()) / std::max<std::int64_t>(1, whole.dim(0));
  const std::int64_t rows = std::clamp(kSampleBytes / std::max<std::int64_t>(1, row_bytes),
                                       std::int64_t{1}, whole.dim(0));
  const Tensor sample = whole.rows(0, rows);
  Stream& stream = Stream::of(device);
  work_seconds_per_byte(*t, sample, stream);  // once for threads and buffers to be there
  const double work = work_seconds_per_byte(*t, sample, stream);
  const double write = write_seconds_per_byte(output, sample);
  return work * static_cast<double>(plan.bytes_read) +
         write * static_cast<double>(plan.bytes_after);
}

}  // namespace aquatint
