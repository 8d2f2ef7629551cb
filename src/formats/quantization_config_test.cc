#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "formats/compressed_tensors.h"
#include "formats/test_support.h"

namespace aquatint {
namespace {

using testing::expect_error;
using Modules = std::vector<std::tuple<std::string, ModuleClass, ModuleScheme>>;

constexpr auto kLinear = ModuleClass::kLinear;
constexpr auto kEmbedding = ModuleClass::kEmbedding;
const ModuleScheme kW8A8{{8, true, Granularity::kRow, 0}, ActivationScheme::kInt8Dynamic};
const ModuleScheme kW4A8{{4, true, Granularity::kGroup, 128}, ActivationScheme::kInt8Dynamic};
const ModuleScheme kW4A16{{4, true, Granularity::kGroup, 128}, ActivationScheme::kFloat};
const ModuleScheme kW4Asym{{4, false, Granularity::kGroup, 32}, ActivationScheme::kFloat};
const ModuleScheme kW8Embedding{
    {8, true, Granularity::kRow, 0}, ActivationScheme::kFloat, WeightLayout::kInts};
const ModuleScheme kW8Tensor{{8, true, Granularity::kTensor, 0}, ActivationScheme::kFloat};

QuantizationConfig read(const nlohmann::json& quantization) {
  const nlohmann::json json = {{"quantization_config", quantization}};
  return QuantizationConfig::from(Config::parse(json.dump(), "config.json")).value();
}

nlohmann::json good() {
  return nlohmann::json::parse(R"({
    "quant_method": "compressed-tensors", "format": "pack-quantized",
    "quantization_status": "compressed", "global_compression_ratio": null, "kv_cache_scheme": null,
    "ignore": ["lm_head"], "version": "0.12.0", "transform_config": {}, "sparsity_config": {},
    "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": null,
      "output_activations": null,
      "weights": {"num_bits": 4, "type": "int", "symmetric": true, "strategy": "group",
        "group_size": 128, "dynamic": false, "actorder": null, "block_structure": null,
        "observer": "minmax", "observer_kwargs": {}}}}})");
}

// Every module must come back with the scheme it went in with, every other with none.
void expect_round_trip(const Modules& modules, const std::vector<std::string>& ignored) {
  const QuantizationConfig config = read(make_quantization_config(modules, ignored));
  for (const auto& [name, cls, scheme] : modules) {
    EXPECT_EQ(config.scheme_of(name, cls), scheme) << name;
  }
  for (const std::string& name : ignored) {
    EXPECT_EQ(config.scheme_of(name, kLinear), std::nullopt) << name;
  }
}

TEST(QuantizationConfig, ReadsThePublishedForms) {
  const QuantizationConfig config = read(good());
  EXPECT_EQ(config.scheme_of("model.layers.0.mlp.up_proj", kLinear), kW4A16);
  EXPECT_EQ(config.scheme_of("lm_head", kLinear), std::nullopt);
  EXPECT_EQ(config.scheme_of("model.embed_tokens", kEmbedding), std::nullopt);

  nlohmann::json json = good();
  json["format"] = "int-quantized";
  json["config_groups"]["group_0"]["weights"] = {{"num_bits", 8}, {"strategy", "channel"}};
  json["config_groups"]["group_0"]["input_activations"] = {
      {"num_bits", 8}, {"strategy", "token"}, {"dynamic", true}};
  EXPECT_EQ(read(json).scheme_of("x", kLinear), kW8A8);
  nlohmann::json& activations = json["config_groups"]["group_0"]["input_activations"];
  activations = {{"num_bits", 8}, {"strategy", "tensor"}, {"dynamic", false}};
  EXPECT_EQ(read(json).scheme_of("x", kLinear)->activations, ActivationScheme::kInt8Static);
  activations["symmetric"] = false;
  EXPECT_EQ(read(json).scheme_of("x", kLinear)->activations, ActivationScheme::kInt8StaticAffine);
  EXPECT_EQ(QuantizationConfig::from(Config::parse("{}", "config.json")), std::nullopt);
  EXPECT_EQ(QuantizationConfig::from(Config::parse(R"({"quantization_config":null})", "c")),
            std::nullopt);
}

TEST(QuantizationConfig, InfersTheStrategyAsTheLibraryDoes) {
  nlohmann::json json = good();
  nlohmann::json& weights = json["config_groups"]["group_0"]["weights"];
  const auto granularity = [&] { return read(json).scheme_of("x", kLinear)->weights.granularity; };
  weights.erase("strategy");
  EXPECT_EQ(granularity(), Granularity::kGroup);
  weights["group_size"] = -1;
  EXPECT_EQ(granularity(), Granularity::kRow);
  weights["group_size"] = nullptr;
  EXPECT_EQ(granularity(), Granularity::kTensor);
}

TEST(QuantizationConfig, PrefersIgnoreThenNamesThenPatternsThenClasses) {
  nlohmann::json json = good();
  nlohmann::json& groups = json["config_groups"];
  const auto add = [&](const char* group, int bits, const std::vector<std::string>& targets) {
    groups[group] = groups["group_0"];
    groups[group]["targets"] = targets;
    groups[group]["weights"]["num_bits"] = bits;
  };
  add("group_1", 2, {"a.exact", "a.ignored"});
  add("group_2", 3, {"re:a\\.z"});
  add("group_3", 5, {"re:a\\."});
  add("group_4", 8, {"Embedding"});
  groups["group_5"] = {{"targets", {"a.float"}}};
  json["ignore"] = {"a.ignored", "re:.*secret$", "re:b(?=c)"};
  const QuantizationConfig config = read(json);
  const auto bits = [&](const char* name, ModuleClass cls = kLinear) {
    const auto scheme = config.scheme_of(name, cls);
    return scheme ? scheme->weights.bits : 16;
  };
  EXPECT_EQ(bits("a.exact"), 2);
  EXPECT_EQ(bits("a.zoo"), 5);   // "re:a\." sorts before "re:a\.z"
  EXPECT_EQ(bits("xa.zoo"), 4);  // patterns match at the start only
  EXPECT_EQ(bits("a.ignored"), 16);
  EXPECT_EQ(bits("a.secret"), 16);
  EXPECT_EQ(bits("a.secrets"), 5);
  EXPECT_EQ(bits("bc"), 16);
  EXPECT_EQ(bits("a.float"), 16);
  EXPECT_EQ(bits("tok", kEmbedding), 8);
}

TEST(QuantizationConfig, RejectsWhatItCannotRunNamingKeyAndValue) {
  const auto reject = [](const char* pointer, const nlohmann::json& value, std::string_view text) {
    nlohmann::json json = good();
    json[nlohmann::json::json_pointer(pointer)] = value;
    expect_error(ErrorKind::kUnsupported, text, [&] { read(json); });
  };
  reject("/quant_method", "gptq",
         "'config.json': key 'quantization_config.quant_method' is the string 'gptq'");
  reject("/format", "nvfp4-pack-quantized", "format' is the string 'nvfp4-pack-quantized'");
  reject("/quantization_status", "frozen", "quantization_status' is the string 'frozen'");
  reject("/kv_cache_scheme", {{"num_bits", 8}}, "kv_cache_scheme' is an object");
  reject("/transform_config", {{"config_groups", 1}}, "transform_config'");
  reject("/sparsity_config", {{"format", "marlin-24"}}, "sparsity_config'");
  reject("/config_groups/W8A8", {"Linear"}, "named presets are not supported");

  const std::string group = "/config_groups/group_0/";
  const std::string key = "quantization_config.config_groups.group_0.";
  const auto in_group = [&](const std::string& name, const nlohmann::json& value,
                            const std::string& text) {
    nlohmann::json json = good();
    json[nlohmann::json::json_pointer(group + name)] = value;
    expect_error(ErrorKind::kUnsupported, key + text, [&] { read(json); });
  };
  in_group("output_activations", {{"num_bits", 8}}, "output_activations' is an object");
  in_group("format", "float-quantized", "format' is the string 'float-quantized'");
  in_group("extra", 1, "extra' is 1: an unknown key");
  in_group("weights/type", "float", "weights.type' is the string 'float'");
  in_group("weights/num_bits", 1, "weights.num_bits' is 1");
  in_group("weights/num_bits", 16, "weights.num_bits' is 16");
  in_group("weights/dynamic", true, "weights.dynamic' is true");
  in_group("weights/dynamic", "local", "weights.dynamic' is the string 'local'");
  in_group("weights/actorder", "group", "weights.actorder' is the string 'group'");
  in_group("weights/actorder", true, "weights.actorder' is true");
  in_group("weights/block_structure", {128, 128}, "weights.block_structure' is a list of 2");
  in_group("weights/strategy", "block", "weights.group_size' is 128");
  in_group("weights/strategy", "channel", "weights.group_size' is 128");
  in_group("weights/group_size", 0, "weights.group_size' is 0");
  in_group("weights/mystery", 2, "weights.mystery' is 2: an unknown key");
  const nlohmann::json token = {{"num_bits", 8}, {"strategy", "token"}, {"dynamic", true}};
  const auto activations = [&](const char* name, const nlohmann::json& value,
                               const std::string& text) {
    nlohmann::json args = token;
    args[name] = value;
    in_group("input_activations", args, "input_activations." + text);
  };
  activations("num_bits", 4, "num_bits' is 4");
  activations("type", "float", "type' is the string 'float'");
  activations("symmetric", false, "symmetric' is false");
  activations("dynamic", false, "strategy' is the string 'token': static activations");
  activations("strategy", "tensor", "strategy' is the string 'tensor'");
}

TEST(QuantizationConfig, AcceptsGptqColumnOrderThatIsNotStored) {
  for (const nlohmann::json& order :
       {nlohmann::json("weight"), nlohmann::json("static"), nlohmann::json(false)}) {
    nlohmann::json json = good();
    json["config_groups"]["group_0"]["weights"]["actorder"] = order;
    EXPECT_EQ(read(json).scheme_of("x", kLinear), kW4A16);
  }
}

TEST(QuantizationConfig, SurvivesHostilePatterns) {
  const auto match = [](const std::string& pattern, const std::string& name) {
    nlohmann::json json = good();
    json["ignore"] = {"re:" + pattern};
    return read(json).scheme_of(name, kLinear);
  };
  EXPECT_EQ(match("a+$", "aaaa"), std::nullopt);
  expect_error(ErrorKind::kUnsupported, "the pattern 're:(' is wrong", [&] { match("(", "a"); });
  expect_error(ErrorKind::kUnsupported, "fails on the name 'aaaa",
               [&] { match("(a|aa)+$", std::string(64, 'a') + "c"); });
  expect_error(ErrorKind::kUnsupported, "is wrong",
               [&] { match(std::string(1000, '(') + std::string(1000, ')'), "a"); });
  expect_error(ErrorKind::kUnsupported, "longer than 4096",
               [&] { match(std::string(5000, 'a'), "a"); });
}

TEST(QuantizationConfig, RejectsContradictions) {
  nlohmann::json json = good();
  json["config_groups"]["group_1"] = json["config_groups"]["group_0"];
  EXPECT_EQ(read(json).scheme_of("x", kLinear), kW4A16);
  json["config_groups"]["group_1"]["weights"]["num_bits"] = 3;
  expect_error(ErrorKind::kUnsupported, "'Linear' has another scheme in another group",
               [&] { read(json); });
  expect_error(ErrorKind::kCorrupt, "key 'quantization_config.config_groups' is missing", [] {
    read({{"quant_method", "compressed-tensors"}});
  });
}

TEST(MakeQuantizationConfig, WritesOneSchemeAsPublished) {
  const nlohmann::json json =
      make_quantization_config({{"model.layers.0.q", kLinear, kW4A16}}, {"lm_head"});
  EXPECT_EQ(json["format"], "pack-quantized");
  EXPECT_EQ(json["ignore"], nlohmann::json({"lm_head"}));
  const nlohmann::json& group = json["config_groups"]["group_0"];
  EXPECT_EQ(group["targets"], nlohmann::json({"Linear"}));
  EXPECT_EQ(group["weights"], good()["config_groups"]["group_0"]["weights"]);
  EXPECT_TRUE(group["input_activations"].is_null());
  EXPECT_FALSE(group.contains("format"));
  EXPECT_EQ(make_quantization_config({{"a", kLinear, kW4A8}}, {})["format"], "int-quantized");
}

TEST(MakeQuantizationConfig, SaysMixedModelsInFewWords) {
  Modules modules;
  std::vector<std::string> ignored = {"lm_head"};
  for (int i = 0; i < 12; ++i) {
    const auto name = [&](const char* part) { return fmt::format("model.layers.{}.{}", i, part); };
    for (const char* part : {"attn.q_proj", "attn.k_proj", "mlp.up_proj"}) {
      modules.emplace_back(name(part), kLinear, kW4A16);
    }
    modules.emplace_back(name("mlp.down_proj"), kLinear, kW8A8);
    modules.emplace_back(name("attn.o_proj"), kLinear, i % 4 == 0 ? kW8A8 : kW4Asym);
    ignored.push_back(name("attn.gk_proj.0"));
  }
  modules.emplace_back("model.embeddings", kEmbedding, kW8Tensor);
  const nlohmann::json json = make_quantization_config(modules, ignored);
  EXPECT_EQ(json["format"], "mixed-precision");
  EXPECT_EQ(json["ignore"],
            nlohmann::json({"lm_head", R"(re:model\.layers\.\d+\.attn\.gk_proj\.\d+$)"}));
  const nlohmann::json& groups = json["config_groups"];
  ASSERT_EQ(groups.size(), 4u);
  EXPECT_EQ(groups["group_3"]["targets"], nlohmann::json({"Linear"}));
  EXPECT_EQ(groups["group_3"]["format"], "pack-quantized");
  EXPECT_EQ(groups["group_0"]["format"], "int-quantized");
  EXPECT_EQ(groups["group_0"]["targets"],
            nlohmann::json({R"(re:model\.layers\.\d+\.mlp\.down_proj$)",
                            R"(re:model\.layers\.(0|4|8)\.attn\.o_proj$)"}));
  EXPECT_EQ(groups["group_2"]["targets"], nlohmann::json({"model.embeddings"}));
  expect_round_trip(modules, ignored);
}

TEST(MakeQuantizationConfig, GivesLayoutsThatAreNotInferred) {
  // A model of one format needs the group's format all the same.
  const Modules same = {{"a", kLinear, kW8A8}, {"model.embeddings", kEmbedding, kW8Embedding}};
  const nlohmann::json json = make_quantization_config(same, {});
  EXPECT_EQ(json["format"], "int-quantized");
  EXPECT_EQ(json["config_groups"]["group_0"]["targets"], nlohmann::json({"model.embeddings"}));
  EXPECT_EQ(json["config_groups"]["group_0"]["format"], "int-quantized");
  expect_round_trip(same, {});
  const Modules mixed = {{"a", kLinear, kW4A16}, {"model.embeddings", kEmbedding, kW8Embedding}};
  EXPECT_EQ(make_quantization_config(mixed, {})["format"], "mixed-precision");
  expect_round_trip(mixed, {});
}

TEST(QuantizationConfig, TakesTheLayoutOfTheGroupElseOfTheCheckpoint) {
  nlohmann::json json = good();
  const auto layout = [&] { return read(json).scheme_of("x", kLinear)->layout; };
  EXPECT_EQ(layout(), WeightLayout::kInferred);
  json["format"] = "naive-quantized";
  EXPECT_EQ(layout(), WeightLayout::kInts);
  json["config_groups"]["group_0"]["format"] = "pack-quantized";
  EXPECT_EQ(layout(), WeightLayout::kInferred);
  json["format"] = "mixed-precision";
  json["config_groups"]["group_0"].erase("format");
  EXPECT_EQ(layout(), WeightLayout::kInferred);
}

TEST(MakeQuantizationConfig, RoundTripsAwkwardNames) {
  expect_round_trip({{"a.1.b.2.c", kLinear, kW4A8},
                     {"a.1.b.3.c", kLinear, kW8A8},
                     {"a.2.b.3.c", kLinear, kW4A8},
                     {"a.10.b", kLinear, kW8A8},
                     {"a.1.b", kLinear, kW4Asym},
                     {"a.100.b", kLinear, kW4Asym},
                     {"0", kLinear, kW4A8},
                     {"1", kLinear, kW4A8},
                     {"x-y+z.(0).w", kLinear, kW4Asym},
                     {"größe.1.w", kLinear, kW4Asym},
                     {"größe.2.w", kLinear, kW4Asym},
                     {"emb.1", kEmbedding, kW8Tensor},
                     {"emb.2", kEmbedding, kW8Tensor}},
                    {"a.11.b", "a.0.b", "2", "head", "a.1.b.2.cc"});
}

}  // namespace
}  // namespace aquatint
