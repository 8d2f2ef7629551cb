// A trained model whose gates reach far below zero, on a long text: float32 and quantized runs stay
// finite, and quantized ones stay near float32.
#include <algorithm>
#include <cmath>
#include <fstream>

#include "models/test_models.h"

namespace aquatint {
namespace {

using testing::all_logits;
using testing::Tokens;

constexpr std::size_t kTokens = 1500;

// Bytes of a book as the byte-fallback tokens of the models' tokenizers (3 to 258): no tokenizer is
// needed here, and unusual text drives the gates further than usual text does.
Tokens book_bytes() {
  std::ifstream file(testing::shared_dir() / "data/books_valid.txt", std::ios::binary);
  std::string text(kTokens, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  Tokens tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c) + 3);
  return tokens;
}

// Mean square of a - b as a share of that of b.
double relative_error(std::span<const float> a, std::span<const float> b) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return error / size;
}

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

TEST(LongText, StaysFiniteInEveryPrecision) {
  AQUATINT_SHARED_PATH(folder, "models/gla");
  AQUATINT_SHARED_PATH(text, "data/books_valid.txt");
  const Tokens tokens = book_bytes();
  Model reference = Model::load(Checkpoint::open(folder), {});
  const auto expected = all_logits(reference, tokens);
  EXPECT_TRUE(all_finite(expected));

  testing::TempFolder temporary;
  struct Case {
    const char* name;
    int bits;
    std::int64_t group;
    ActivationScheme activations;
    double bound;  // of the relative error of the logits
  };
  for (const Case& c : {Case{"w8a8", 8, 0, ActivationScheme::kInt8Dynamic, 0.01},
                        Case{"w4a16", 4, 128, ActivationScheme::kFloat, 0.2}}) {
    const auto path =
        testing::make_quantized(temporary, c.name, folder, c.bits, c.group, c.activations);
    Model model = Model::load(Checkpoint::open(path), {});
    const auto logits = all_logits(model, tokens);
    EXPECT_TRUE(all_finite(logits)) << c.name;
    EXPECT_LT(relative_error(logits, expected), c.bound) << c.name;
    RecordProperty(c.name, std::to_string(relative_error(logits, expected)));
  }
}

}  // namespace
}  // namespace aquatint
