// Pickles as PyTorch writes them, and those that try to do something.
#include "formats/pickle.h"

#include "formats/test_support.h"
#include "formats/torch_testing.h"

namespace aquatint {
namespace {

using testing::expect_error;
using testing::raw;
namespace pk = testing::pickle;

constexpr std::string_view kAllowed[] = {"collections.OrderedDict", "torch.FloatStorage"};

Pickle read(const std::string& bytes) {
  return read_pickle(std::as_bytes(std::span(bytes.data(), bytes.size())), 0, kAllowed, "x.pt");
}

void expect_refused(const std::string& value, ErrorKind kind, const std::string& text) {
  expect_error(kind, text, [&] { read(pk::file(value)); });
  expect_error(kind, "'x.pt': ", [&] { read(pk::file(value)); });
}

void expect_corrupt(const std::string& value, const std::string& text) {
  expect_refused(value, ErrorKind::kCorrupt, text);
}

TEST(Pickle, Scalars) {
  struct Case {
    std::string bytes;
    PickleKind kind;
    std::int64_t integer;
  };
  const Case cases[] = {
      {"N", PickleKind::kNone, 0},
      {"\x88", PickleKind::kBool, 1},
      {"\x89", PickleKind::kBool, 0},
      {"K\xff", PickleKind::kInt, 255},
      {"M\x01\x02", PickleKind::kInt, 0x201},
      {"J\xfe\xff\xff\xff", PickleKind::kInt, -2},
      {std::string("\x8a\x00", 2), PickleKind::kInt, 0},
      {"\x8a\x01\xff", PickleKind::kInt, -1},
      {"\x8a\x02\xff\x7f", PickleKind::kInt, 0x7fff},
      {pk::integer(std::int64_t{1} << 40), PickleKind::kInt, std::int64_t{1} << 40},
  };
  for (const Case& c : cases) {
    const Pickle pickle = read(pk::file(c.bytes));
    EXPECT_EQ(pickle[pickle.root].kind, c.kind);
    EXPECT_EQ(pickle[pickle.root].integer, c.integer);
    EXPECT_EQ(pickle.end, c.bytes.size() + 3);
  }
  const Pickle big = read(pk::file(std::string("\x8a\x0a") + std::string(10, 'x')));
  EXPECT_EQ(big[big.root].kind, PickleKind::kBigInt);
  const Pickle number = read(pk::file(std::string("G\x3f\xf8\0\0\0\0\0\0", 9)));
  EXPECT_EQ(number[number.root].number, 1.5);
}

TEST(Pickle, TextsOfEveryProtocol) {
  const std::string eight = raw(std::uint64_t{2}), four = raw(std::uint32_t{2});
  for (const std::string& start :
       {"X" + four, std::string("\x8c\x02"), "\x8d" + eight, std::string("U\x02"), "T" + four}) {
    const std::string bytes = pk::file(start + "ab");
    const Pickle pickle = read(bytes);
    EXPECT_EQ(pickle[pickle.root].kind, PickleKind::kString);
    EXPECT_EQ(pickle[pickle.root].text, "ab");
  }
  for (const std::string& start : {"B" + four, std::string("C\x02"), "\x8e" + eight}) {
    const std::string bytes = pk::file(start + "ab");
    EXPECT_EQ(read(bytes)[0].kind, PickleKind::kBytes);
  }
}

TEST(Pickle, Containers) {
  // {"a": [1, 2], "b": (True,)} with the list filled twice and everything remembered.
  const std::string bytes = pk::file(std::string("}q\x01(") + pk::text("a") + "]q\x02K\x01" +
                                     "a(K\x02" + "e" + pk::text("b") + "\x88\x85" + "u");
  const Pickle pickle = read(bytes);
  const PickleValue& dict = pickle[pickle.root];
  ASSERT_EQ(dict.kind, PickleKind::kDict);
  ASSERT_EQ(dict.items.size(), 4u);
  EXPECT_EQ(pickle[dict.items[0]].text, "a");
  const PickleValue& list = pickle[dict.items[1]];
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_EQ(pickle[list.items[1]].integer, 2);
  EXPECT_EQ(pickle[dict.items[3]].kind, PickleKind::kTuple);
  EXPECT_EQ(pickle[dict.items[3]].items.size(), 1u);
}

TEST(Pickle, NewerProtocols) {
  // Protocol 4 with a frame, memoized names and STACK_GLOBAL.
  const std::string body = std::string("\x8c\x0b") + std::string("collections") + "\x94\x8c\x0b" +
                           "OrderedDict" + "\x94\x93\x94)R\x94.";
  const std::string bytes = std::string("\x80\x04\x95") + raw(std::uint64_t{body.size()}) + body;
  const Pickle pickle = read(bytes);
  EXPECT_EQ(pickle[pickle.root].kind, PickleKind::kCall);
  EXPECT_EQ(pickle[pickle[pickle.root].items[0]].text, "collections.OrderedDict");
  expect_error(ErrorKind::kCorrupt, "a frame of 100 bytes",
               [&] { read(std::string("\x80\x04\x95") + raw(std::uint64_t{100}) + body); });
  expect_error(ErrorKind::kUnsupported, "pickle protocol 6", [] { read("\x80\x06N."); });
  expect_error(ErrorKind::kUnsupported, "pickle protocol 1", [] { read("\x80\x01N."); });
  expect_error(ErrorKind::kCorrupt, "not a pickle", [] { read("N."); });
}

TEST(Pickle, ForeignNamesAreRefusedByName) {
  const std::string command = pk::tuple({pk::text("touch /tmp/x")});
  const std::pair<const char*, const char*> names[] = {
      {"os", "system"},
      {"posix", "system"},
      {"builtins", "eval"},
      {"builtins", "exec"},
      {"builtins", "getattr"},
      {"builtins", "__import__"},
      {"subprocess", "Popen"},
      {"torch", "load"},
      {"torch.storage", "_load_from_bytes"},
      {"torch", "FloatStorageX"},
      {"torch.FloatStorage", ""},
      {"collections", "OrderedDict.fromkeys"},
      {"numpy.core.multiarray", "_reconstruct"},
  };
  for (const auto& [module, name] : names) {
    const std::string full = std::string("asks for '") + module + "." + name + "'";
    expect_refused(pk::call(pk::global(module, name), command), ErrorKind::kUnsupported, full);
    // As newer protocols write it.
    expect_refused(pk::text(module) + pk::text(name) + "\x93" + command + "R",
                   ErrorKind::kUnsupported, full);
  }
  // eval reached through getattr(__import__("builtins"), "eval").
  const std::string import = pk::call(pk::global("builtins", "__import__"), command);
  expect_refused(pk::call(pk::global("builtins", "getattr"), pk::tuple({import, pk::text("eval")})),
                 ErrorKind::kUnsupported, "asks for 'builtins.getattr'");
}

TEST(Pickle, NamesThatLookAllowedButAreCutElsewhere) {
  // "collections.OrderedDict" is the module collections and the name OrderedDict, nothing else.
  expect_refused(pk::global("collections.OrderedDict", ""), ErrorKind::kUnsupported, "asks for");
  expect_refused(pk::global("", "collections.OrderedDict"), ErrorKind::kUnsupported, "asks for");
}

TEST(Pickle, InstructionsThatMakeInstancesAreRefused) {
  expect_refused("(ios\nsystem\n", ErrorKind::kUnsupported, "the instruction INST");
  expect_refused(std::string("(") + pk::global("torch", "FloatStorage") + "o",
                 ErrorKind::kUnsupported, "the instruction OBJ");
  expect_refused(")}\x92", ErrorKind::kUnsupported, "the instruction NEWOBJ_EX");
  expect_refused("\x82\x01", ErrorKind::kUnsupported, "the instruction EXT1");
  expect_refused("P1\n", ErrorKind::kUnsupported, "the instruction PERSID");
  expect_refused("\x97", ErrorKind::kUnsupported, "the instruction NEXT_BUFFER");
  expect_corrupt("\xff", "no instruction 0xff (byte 2)");
}

TEST(Pickle, CallsOfWhatIsNoFunction) {
  expect_corrupt(pk::call(pk::text("os.system"), ")"), "calls what is no function");
  expect_corrupt(pk::call(pk::ordered_dict(), ")"), "calls what is no function");
  expect_corrupt(pk::call(pk::global("torch", "FloatStorage"), "]"), "calls without arguments");
  expect_corrupt("]Nb", "sets attributes of what has none");
  expect_corrupt(std::string("]") + pk::text("a") + "Ns", "sets elements of what is no dict");
  expect_corrupt("}Na", "appends to what is no list");
  expect_corrupt("}(Nu", "a key without a value");
  expect_corrupt("NN\x93", "the name of a global is no string");
}

TEST(Pickle, UnderflowsAndLeftovers) {
  for (const std::string& body :
       {std::string(), std::string("R"), std::string("N\x86"), std::string("Q"), std::string("b"),
        std::string("s"), std::string("q\x01"), std::string("\x93"), std::string("(\x85"),
        std::string("]N(a")}) {
    expect_corrupt(body, "takes a value that is not there");
  }
  expect_corrupt("t", "from a mark that is not there");
  expect_corrupt("h\x07", "recalls value 7, which was never stored");
  expect_corrupt("NN", "values left over");
  expect_corrupt("(N", "values left over");
}

TEST(Pickle, EveryTruncationIsRefused) {
  const std::string whole = pk::file(
      pk::dict({{"a", pk::integer(5)}, {"b", pk::tuple({pk::ordered_dict(), pk::text("c")})}}));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    expect_error(ErrorKind::kCorrupt, "x.pt", [&] { read(whole.substr(0, size)); });
  }
  expect_corrupt(std::string("X") + raw(std::uint32_t{0xffffffff}) + "a", "ends inside a pickle");
  expect_corrupt(std::string("\x8d") + raw(~std::uint64_t{0}) + "a", "ends inside a pickle");
  expect_corrupt(std::string("c") + std::string(1000, 'x'), "the name of a global does not end");
}

// Values that refer to each other take no more memory than their references.
TEST(Pickle, NestedReferencesAreNotCopied) {
  std::string body = ")\x94";
  for (int i = 0; i < 200; ++i) {  // each a pair of the one before: 2^200 leaves
    body += "h";
    body += static_cast<char>(i);
    body += "h";
    body += static_cast<char>(i);
    body += "\x86\x94";
  }
  body += "\x85";
  for (int i = 0; i < 200; ++i) body += "\x86";  // takes all of them
  const Pickle pickle = read("\x80\x04" + body + ".");
  EXPECT_LE(pickle.values.size(), 402u);
  // A list that holds itself.
  const Pickle cycle = read(pk::file(std::string("]q\x01h\x01") + std::string("a")));
  EXPECT_EQ(cycle[cycle.root].items[0], cycle.root);
}

TEST(Pickle, TooManyValues) {
  expect_refused(std::string("(") + std::string(std::size_t{5} << 20, 'N') + "t",
                 ErrorKind::kUnsupported, "more than 4194304 values");
}

}  // namespace
}  // namespace aquatint
