// What observers see while a model passes block by block is what its taps show when it runs whole.
#include "quantize/run_calibration.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>

#include "base/cpu_features.h"
#include "base/threads.h"
#include "formats/test_support.h"
#include "models/model.h"
#include "quantize/test_support.h"
#include "testing/shared_data.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::SmallModel;
using Batches = std::vector<std::vector<float>>;

// Remembers every batch.
class Recorder : public Observer {
 public:
  void observe(const float* values, std::int64_t rows, std::int64_t columns) override {
    batches_.emplace_back(values, values + rows * columns);
    rows_ += rows;
  }
  void merge(const Observer&) override {}
  std::int64_t rows() const override { return rows_; }
  std::vector<Range> ranges() const override { return {}; }
  std::vector<std::pair<std::string, Tensor>> tensors() const override { return {}; }
  const Batches& batches() const { return batches_; }

 private:
  Batches batches_;
  std::int64_t rows_ = 0;
};

class Refuser : public Recorder {
 public:
  void observe(const float*, std::int64_t, std::int64_t) override {
    raise(ErrorKind::kNumeric, "column 3 holds NaN");
  }
};

// All taps of a whole model, one sequence after the other.
class WholeTaps : public TapSink {
 public:
  bool wants(const std::string&) override { return true; }
  void record(const std::string& name, const float* values, std::int64_t rows,
              std::int64_t columns) override {
    Batches& batches = taps[name];
    if (batches.size() < static_cast<std::size_t>(sequence)) batches.emplace_back();
    batches.back().insert(batches.back().end(), values, values + rows * columns);
  }
  int sequence = 0;
  std::map<std::string, Batches> taps;
};

CalibrationData random_data(const Checkpoint& checkpoint, const std::vector<int>& lengths) {
  CalibrationData data;
  std::mt19937 random(11);
  const auto vocab = static_cast<std::uint32_t>(checkpoint.architecture().vocab_size());
  for (const int length : lengths) {
    data.sequences.emplace_back();
    for (int i = 0; i < length; ++i) {
      data.sequences.back().push_back(static_cast<TokenId>(random() % vocab));
    }
  }
  return data;
}

std::map<std::string, Batches> whole_taps(const Checkpoint& checkpoint,
                                          const CalibrationData& data) {
  LoadOptions load;
  load.compute = kernels::DenseType::kF32;
  Model model = Model::load(checkpoint, load);
  WholeTaps sink;
  model.set_taps(&sink);
  for (const auto& sequence : data.sequences) {
    ++sink.sequence;
    SequenceState state = model.new_state();
    const ModelInput input{sequence, &state};
    model.run(std::span(&input, 1), LogitsFor::kEveryToken,
              [](std::size_t, std::int64_t, std::int64_t, const float*) {});
  }
  return sink.taps;
}

std::map<std::string, Batches> streamed_taps(const Checkpoint& checkpoint,
                                             const CalibrationData& data,
                                             const std::vector<std::string>& names,
                                             const CalibrationOptions& options) {
  std::vector<Recorder> recorders(names.size());
  std::vector<ObservedTap> taps;
  for (std::size_t i = 0; i < names.size(); ++i) taps.push_back({names[i], &recorders[i]});
  run_calibration(checkpoint.architecture(), checkpoint, data, taps, options);
  std::map<std::string, Batches> result;
  for (std::size_t i = 0; i < names.size(); ++i) result[names[i]] = recorders[i].batches();
  return result;
}

std::vector<std::string> names_of(const std::map<std::string, Batches>& taps) {
  std::vector<std::string> names;
  for (const auto& [name, batches] : taps) names.push_back(name);
  return names;
}

// `share`: of the largest value of a batch, by which others may differ.
void expect_equal(const std::map<std::string, Batches>& a, const std::map<std::string, Batches>& b,
                  const std::string& what, float share = 0) {
  ASSERT_EQ(names_of(a), names_of(b)) << what;
  for (const auto& [name, batches] : a) {
    const Batches& others = b.at(name);
    ASSERT_EQ(batches.size(), others.size()) << what << " " << name;
    for (std::size_t i = 0; i < batches.size(); ++i) {
      ASSERT_EQ(batches[i].size(), others[i].size()) << what << " " << name;
      float worst = 0, largest = 0;
      for (std::size_t k = 0; k < batches[i].size(); ++k) {
        worst = std::max(worst, std::abs(batches[i][k] - others[i][k]));
        largest = std::max(largest, std::abs(batches[i][k]));
      }
      EXPECT_LE(worst, share * largest) << what << " " << name << " sequence " << i;
    }
  }
}

constexpr float kRounding = 1e-5f;

// The same products give the same bits. With AVX2 the library rounds them otherwise when several
// sequences share them, or more threads.
void expect_streams_as_whole(const std::filesystem::path& folder,
                             const std::vector<int>& lengths = {7, 1, 12, 5}) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const CalibrationData data = random_data(checkpoint, lengths);
  const auto whole = whole_taps(checkpoint, data);
  const auto names = names_of(whole);
  CalibrationOptions options;
  expect_equal(streamed_taps(checkpoint, data, names, options), whole, folder.string(), kRounding);
  options.batch_tokens = 13;
  options.hidden_bytes = 0;
  expect_equal(streamed_taps(checkpoint, data, names, options), whole, folder.string(), kRounding);
  options.batch_tokens = 1;
  expect_equal(streamed_taps(checkpoint, data, names, options), whole, folder.string());
}

std::filesystem::path golden(const std::string& family, const std::string& variant) {
  return testing::source_dir() / "tests/golden" / family / variant;
}

class OfFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(OfFamily, EveryVariantStreamsAsTheWholeModel) {
  const auto family = testing::source_dir() / "tests/golden" / GetParam();
  for (const auto& entry : std::filesystem::directory_iterator(family)) {
    if (entry.is_directory()) expect_streams_as_whole(entry.path());
  }
}

TEST_P(OfFamily, TrainedModelStreamsAsTheWholeModel) {
  AQUATINT_SHARED_PATH(folder, std::string("models/") + GetParam());
  expect_streams_as_whole(folder, {100, 64, 3});
}

INSTANTIATE_TEST_SUITE_P(Calibration, OfFamily,
                         ::testing::Values("gla", "gpt2", "llama", "mamba", "mamba2"),
                         [](const auto& family) { return std::string(family.param); });

TEST(Calibration, StreamsRelativesOfLlama) {
  for (const char* family : {"minicpm", "mistral", "qwen2"}) {
    expect_streams_as_whole(
        golden(family, family == std::string("minicpm") ? "all_heads_untied" : "plain"));
  }
}

TEST(Calibration, ThreadsChangeNothing) {
  const Checkpoint checkpoint = Checkpoint::open(golden("gla", "hybrid"));
  const CalibrationData data = random_data(checkpoint, {40, 9, 33});
  const std::vector<std::string> names{"hidden.3", "lm_head.input", "lm_head.output"};
  set_num_threads(1);
  const auto one = streamed_taps(checkpoint, data, names, {});
  set_num_threads(3);
  const auto three = streamed_taps(checkpoint, data, names, {});
  set_num_threads(0);
  expect_equal(one, three, "threads", active_isa() == Isa::kAvx2 ? kRounding : 0.0f);
}

TEST(Calibration, ObserversMayShareATap) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const CalibrationData data = random_data(checkpoint, {5, 6});
  Recorder first, second;
  const std::vector<ObservedTap> taps{{"hidden.1", &first}, {"hidden.1", &second}};
  run_calibration(checkpoint.architecture(), checkpoint, data, taps, {});
  EXPECT_EQ(first.rows(), 11);
  EXPECT_EQ(first.batches(), second.batches());
  EXPECT_EQ(first.batches().size(), 2u);
}

TEST(Calibration, ComputesInBfloat16WhenAsked) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const CalibrationData data = random_data(checkpoint, {9});
  CalibrationOptions options;
  const auto f32 = streamed_taps(checkpoint, data, {"lm_head.input"}, options);
  options.compute = kernels::DenseType::kBF16;
  const auto bf16 = streamed_taps(checkpoint, data, {"lm_head.input"}, options);
  EXPECT_NE(f32, bf16);
}

TEST(Calibration, TapWithoutDataIsNamed) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const CalibrationData data = random_data(checkpoint, {4});
  Recorder recorder;
  const std::vector<ObservedTap> taps{{"model.layers.7.attn.q_proj.input", &recorder}};
  expect_error(ErrorKind::kInvalidArgument, "'model.layers.7.attn.q_proj.input' saw no data",
               [&] { run_calibration(checkpoint.architecture(), checkpoint, data, taps, {}); });
  expect_error(ErrorKind::kInvalidArgument, "no sequences", [&] {
    run_calibration(checkpoint.architecture(), checkpoint, CalibrationData{}, taps, {});
  });
}

TEST(Calibration, ErrorOfAnObserverNamesTheTap) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  Refuser refuser;
  const std::vector<ObservedTap> taps{{"model.layers.1.mlp.down_proj.input", &refuser}};
  expect_error(ErrorKind::kNumeric, "'model.layers.1.mlp.down_proj.input': column 3 holds NaN",
               [&] {
                 run_calibration(checkpoint.architecture(), checkpoint,
                                 random_data(checkpoint, {4}), taps, {});
               });
}

TEST(Calibration, RefusesTokensAndLengthsTheModelHasNot) {
  const Checkpoint checkpoint = Checkpoint::open(golden("gpt2", "plain"));
  const auto limit = static_cast<int>(checkpoint.architecture().max_positions());
  Recorder recorder;
  const std::vector<ObservedTap> taps{{"hidden.0", &recorder}};
  expect_error(ErrorKind::kInvalidArgument, fmt::format("has {} positions", limit), [&] {
    run_calibration(checkpoint.architecture(), checkpoint, random_data(checkpoint, {3, limit + 1}),
                    taps, {});
  });
  CalibrationData data;
  data.sequences = {{1, -1}};
  expect_error(ErrorKind::kInvalidArgument, "token -1 is outside",
               [&] { run_calibration(checkpoint.architecture(), checkpoint, data, taps, {}); });
}

class NanInput : public InputLayer {
 public:
  void forward(ForwardContext&, std::span<const Segment>, const std::int32_t*, std::int64_t,
               float* hidden) const override {
    hidden[1] = std::numeric_limits<float>::quiet_NaN();
  }
  std::size_t nbytes() const override { return 0; }
};

TEST(Calibration, NanThatNobodyLooksAtIsFound) {
  const SmallModel model;
  const Checkpoint checkpoint = Checkpoint::open(model.folder());
  const std::vector<std::vector<TokenId>> sequences{{1, 2}};
  BlockRunner runner(checkpoint.architecture(), sequences, {});
  WholeTaps taps;
  expect_error(ErrorKind::kNumeric, "tap 'hidden.0'", [&] { runner.run_input(NanInput(), taps); });
}

TEST(HiddenValues, FileKeepsRowsAndLeavesNothing) {
  const testing::TempFolder folder;
  {
    HiddenValues values(10, 3, 0, folder.path());
    EXPECT_TRUE(values.in_file());
    EXPECT_TRUE(folder.files().empty());
    for (const int first : {0, 4, 8}) {
      const int n = first == 8 ? 2 : 4;
      float* rows = values.place(first, n);
      for (int i = 0; i < n * 3; ++i) rows[i] = static_cast<float>(100 * first + i);
      values.store();
    }
    EXPECT_EQ(values.load(4, 4)[11], 411.0f);
    EXPECT_EQ(values.load(1, 9)[3 * 7], 800.0f);
  }
  EXPECT_TRUE(folder.files().empty());
  EXPECT_FALSE(HiddenValues(10, 3, 120, folder.path()).in_file());
}

TEST(HiddenValues, SaysWhereThereIsNoRoom) {
  const testing::TempFolder folder;
  expect_error(ErrorKind::kIo, "none",
               [&] { HiddenValues values(10, 3, 0, folder.path() / "none"); });
  expect_error(ErrorKind::kOutOfMemory, "of disk",
               [&] { HiddenValues values(std::int64_t{1} << 40, 1 << 10, 0, folder.path()); });
  EXPECT_TRUE(folder.files().empty());
}

}  // namespace
}  // namespace aquatint
