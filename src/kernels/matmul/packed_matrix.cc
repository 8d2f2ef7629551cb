#include "kernels/matmul/packed_matrix.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <compare>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/cpu_features.h"
#include "base/error.h"
#include "base/threads.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace aquatint::kernels::detail {
namespace {

using DataType = dnnl::memory::data_type;
using Dims = dnnl::memory::dims;

// Slices of the matrix are filled and reordered a few MiB at a time, cut at multiples of this many
// outputs, which every blocked layout of the library divides.
constexpr std::int64_t kSliceOutputs = 256;
constexpr std::int64_t kSliceBytes = std::int64_t{4} << 20;
// The layout is the library's choice for this many rows; it is also used for all other numbers of
// rows.
constexpr std::int64_t kLayoutRows = 512;
constexpr std::size_t kCachedPrimitives = 512;
// Multiply-adds below which a team of threads costs more than it brings (a few microseconds).
constexpr std::int64_t kSerialWork = 48 * 1024;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

struct Types {
  DataType x, w, y;
  std::size_t w_size;
};

Types types_of(Product product) {
  switch (product) {
    case Product::kF32:
      return {DataType::f32, DataType::f32, DataType::f32, 4};
    case Product::kBF16:
      return {DataType::bf16, DataType::bf16, DataType::f32, 2};
    case Product::kU8S8:
      break;
  }
  return {DataType::u8, DataType::s8, DataType::s32, 1};
}

// AQUATINT_ISA must govern the library too; it listens only before its first use.
void limit_isa() {
  if (active_isa() == detected_isa()) return;
  switch (active_isa()) {
    case Isa::kReference:
      dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
      break;
    case Isa::kAvx2:
      dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
      break;
    case Isa::kAvx512:
      dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core);
      break;
    case Isa::kAvx512Vnni:
      dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_vnni);
      break;
    case Isa::kAvx512Bf16:
      dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
      break;
  }
}

struct Library {
  dnnl::engine engine;
  dnnl::stream stream;
};

// Never destroyed: the library's own globals may go first at exit.
const Library& library() {
  static const Library* const instance = [] {
    limit_isa();
    dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    return new Library{engine, dnnl::stream(engine)};
  }();
  return *instance;
}

// Turns the library's exceptions into ours; they mean a shape it cannot allocate for or run.
template <typename Body>
auto guarded(const char* what, std::int64_t outputs, std::int64_t columns, const Body& body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    const bool memory = error.status == dnnl_out_of_memory;
    raise(memory ? ErrorKind::kOutOfMemory : ErrorKind::kUnsupported,
          "{} a [{}, {}] weight matrix: oneDNN says: {}", what, outputs, columns, error.what());
  }
}

dnnl::memory::desc plain(std::int64_t rows, std::int64_t columns, DataType type) {
  return {Dims{rows, columns}, type, dnnl::memory::format_tag::ab};
}

// The library sees W [N, K] as its transpose [K, N].
dnnl::memory::desc row_major_weights(std::int64_t outputs, std::int64_t columns, DataType type) {
  return {Dims{columns, outputs}, type, dnnl::memory::format_tag::ba};
}

dnnl::matmul::primitive_desc describe(const dnnl::memory::desc& weights, Product product,
                                      std::int64_t rows, std::int64_t outputs, std::int64_t columns,
                                      bool with_bias) {
  const Types types = types_of(product);
  const auto x = plain(rows, columns, types.x);
  const auto y = plain(rows, outputs, types.y);
  const auto bias = with_bias ? plain(1, outputs, DataType::f32) : dnnl::memory::desc();
  dnnl::primitive_attr attributes;
  // Scratch memory of our own makes one primitive usable from several threads at once.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
  return {library().engine, x, weights, bias, y, attributes};
#else
  return {dnnl::matmul::desc(x, weights, bias, y), attributes, library().engine};
#endif
}

// The library's blocked layout, if it serves one row as well as many; else row-major, which always
// does.
dnnl::memory::desc choose_layout(Product product, std::int64_t outputs, std::int64_t columns) {
  const dnnl::memory::desc any(Dims{columns, outputs}, types_of(product).w,
                               dnnl::memory::format_tag::any);
  const auto layout = describe(any, product, kLayoutRows, outputs, columns, false).weights_desc();
  for (const std::int64_t rows : {1, 7}) {
    try {
      const auto primitive = describe(layout, product, rows, outputs, columns, true);
      if (std::string(primitive.impl_info_str()).find("ref") == std::string::npos) continue;
    } catch (const dnnl::error&) {
      // Unimplemented for this layout.
    }
    return row_major_weights(outputs, columns, types_of(product).w);
  }
  return layout;
}

struct Deleter {
  std::align_val_t alignment{};
  void operator()(void* memory) const { ::operator delete(memory, alignment); }
};
using Buffer = std::unique_ptr<void, Deleter>;

// Zeroed, and in huge pages where they help: one row's product walks the weights once, at memory
// speed.
Buffer allocate(std::size_t bytes) {
  const std::align_val_t alignment{bytes >= kHugePage ? kHugePage : std::size_t{64}};
  Buffer buffer(::operator new(bytes, alignment, std::nothrow), Deleter{alignment});
  if (buffer == nullptr) {
    raise(ErrorKind::kOutOfMemory, "cannot allocate {} bytes of weights", bytes);
  }
#if defined(__linux__)
  if (bytes >= kHugePage) madvise(buffer.get(), bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  std::memset(buffer.get(), 0, bytes);
  return buffer;
}

// Everything a primitive depends on besides the addresses.
struct Key {
  Product product;
  std::int64_t outputs, columns, rows;
  bool with_bias;
  int threads;
  auto operator<=>(const Key&) const = default;
};

struct Compiled {
  explicit Compiled(const dnnl::matmul::primitive_desc& desc)
      : description(desc), primitive(desc), scratch_bytes(desc.scratchpad_desc().get_size()) {
    static std::atomic<std::uint64_t> count{0};
    id = ++count;
  }
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
  std::size_t scratch_bytes;
  std::uint64_t id;  // never used again, unlike the address
  std::uint64_t last_use = 0;
};

// Generated code by shape, shared by all layers of that shape; the least recently used goes first.
class PrimitiveCache {
 public:
  std::shared_ptr<Compiled> find_or_build(const Key& key, const dnnl::memory::desc& weights) {
    const std::lock_guard lock(mutex_);
    auto& slot = entries_[key];
    // Another layout under the same key: the library may choose by the number of threads.
    if (slot == nullptr || slot->description.weights_desc() != weights) {
      slot = std::make_shared<Compiled>(
          describe(weights, key.product, key.rows, key.outputs, key.columns, key.with_bias));
    }
    slot->last_use = ++clock_;
    const auto found = slot;
    if (entries_.size() > kCachedPrimitives) evict();
    return found;
  }

 private:
  void evict() {
    const auto oldest =
        std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
          return (a.second ? a.second->last_use : 0) < (b.second ? b.second->last_use : 0);
        });
    entries_.erase(oldest);
  }

  std::mutex mutex_;
  std::map<Key, std::shared_ptr<Compiled>> entries_;
  std::uint64_t clock_ = 0;
};

PrimitiveCache& cache() {
  static auto* const instance = new PrimitiveCache;
  return *instance;
}

// Primitives split their work over the threads they were built for, so the count must be right both
// when one is built and when it runs: one for little work, and inside a parallel region, where no
// team is formed.
class ThreadCount {
 public:
  explicit ThreadCount(std::int64_t work) : previous_(omp_get_max_threads()) {
    if (work < kSerialWork || omp_in_parallel()) omp_set_num_threads(1);
  }
  ~ThreadCount() { omp_set_num_threads(previous_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;
  int count() const { return omp_get_max_threads(); }

 private:
  int previous_;
};

void* scratch_memory(std::size_t bytes) {
  thread_local std::vector<std::max_align_t> memory;
  const std::size_t needed = (bytes + 64) / sizeof(std::max_align_t) + 5;
  if (memory.size() < needed) memory.resize(needed);
  auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  address = (address + 63) / 64 * 64;
  return reinterpret_cast<void*>(address);
}

dnnl::memory memory_of(const dnnl::memory::desc& shape, const void* data = DNNL_MEMORY_NONE) {
  return {shape, library().engine, const_cast<void*>(data)};
}

// The library's descriptions of the operands of one primitive, but for the weights. They are kept
// by each thread, because making them costs as much as a small product does.
struct Operands {
  dnnl::memory x, y, bias, scratch;

  explicit Operands(const Compiled& compiled, bool with_bias)
      : x(memory_of(compiled.description.src_desc())),
        y(memory_of(compiled.description.dst_desc())),
        scratch(memory_of(compiled.description.scratchpad_desc())) {
    if (with_bias) bias = memory_of(compiled.description.bias_desc());
  }
};

Operands& operands_of(const Compiled& compiled, bool with_bias) {
  thread_local std::unordered_map<std::uint64_t, Operands> kept;
  const auto found = kept.find(compiled.id);
  if (found != kept.end()) return found->second;
  if (kept.size() >= kCachedPrimitives) kept.clear();
  return kept.try_emplace(compiled.id, compiled, with_bias).first->second;
}

}  // namespace

bool is_native(Product product) {
  switch (product) {
    case Product::kF32:
      return true;
    case Product::kBF16:
      return active_isa() >= Isa::kAvx512Bf16;
    case Product::kU8S8:
      break;
  }
  return active_isa() >= Isa::kAvx512Vnni;
}

struct PackedMatrix::Impl {
  Product product;
  std::int64_t outputs, columns;
  dnnl::memory::desc layout;
  Buffer bytes;
  std::size_t size = 0;
  dnnl::memory weights;  // `bytes`, as the library describes them
};

PackedMatrix::PackedMatrix(Product product, std::int64_t outputs, std::int64_t columns,
                           const FillRows& fill)
    : impl_(new Impl{product, outputs, columns, {}, nullptr, 0, {}}) {
  guarded("packing", outputs, columns, [&] {
    const Types types = types_of(product);
    Impl& matrix = *impl_;
    matrix.layout = choose_layout(product, outputs, columns);
    matrix.size = matrix.layout.get_size();
    matrix.bytes = allocate(matrix.size);
    const std::int64_t row_bytes = columns * static_cast<std::int64_t>(types.w_size);
    const std::int64_t slices = std::max<std::int64_t>(1, kSliceBytes / row_bytes / kSliceOutputs);
    const std::int64_t step = std::min(outputs, slices * kSliceOutputs);
    std::vector<std::byte> rows(static_cast<std::size_t>(step * row_bytes));
    const Library& dnn = library();
    dnnl::stream stream = dnn.stream;
    for (std::int64_t begin = 0; begin < outputs; begin += step) {
      const std::int64_t end = std::min(outputs, begin + step);
      fill(begin, end, rows.data());
      const auto part = matrix.layout.submemory_desc(Dims{columns, end - begin}, Dims{0, begin});
      dnnl::memory from(row_major_weights(end - begin, columns, types.w), dnn.engine, rows.data());
      dnnl::memory to(part, dnn.engine, matrix.bytes.get());
      dnnl::reorder(from, to).execute(stream, from, to);
      stream.wait();
    }
    matrix.weights = memory_of(matrix.layout, matrix.bytes.get());
  });
}

PackedMatrix::~PackedMatrix() = default;

std::size_t PackedMatrix::nbytes() const {
  return impl_->size;
}

void PackedMatrix::multiply(const void* x, std::int64_t rows, const float* bias, void* y) const {
  const Impl& matrix = *impl_;
  guarded("multiplying by", matrix.outputs, matrix.columns, [&] {
    const bool with_bias = bias != nullptr;
    const ThreadCount threads(rows * matrix.outputs * matrix.columns);
    const auto compiled = cache().find_or_build(
        {matrix.product, matrix.outputs, matrix.columns, rows, with_bias, threads.count()},
        matrix.layout);
    Operands& operands = operands_of(*compiled, with_bias);
    operands.x.set_data_handle(const_cast<void*>(x));
    operands.y.set_data_handle(y);
    operands.scratch.set_data_handle(scratch_memory(compiled->scratch_bytes));
    std::array<dnnl_exec_arg_t, 5> arguments{{{DNNL_ARG_SRC, operands.x.get()},
                                              {DNNL_ARG_WEIGHTS, matrix.weights.get()},
                                              {DNNL_ARG_DST, operands.y.get()},
                                              {DNNL_ARG_SCRATCHPAD, operands.scratch.get()},
                                              {}}};
    if (with_bias) {
      operands.bias.set_data_handle(const_cast<float*>(bias));
      arguments[4] = {DNNL_ARG_BIAS, operands.bias.get()};
    }
    dnnl::stream stream = library().stream;
    // The C function, since the C++ one copies its arguments through the heap.
    dnnl::error::wrap_c_api(dnnl_primitive_execute(compiled->primitive.get(), stream.get(),
                                                   with_bias ? 5 : 4, arguments.data()),
                            "could not execute a product");
    stream.wait();
  });
}

}  // namespace aquatint::kernels::detail
