#include "formats/pickle.h"

#include <algorithm>
#include <bit>
#include <unordered_map>
#include <utility>

#include "base/printable.h"
#include "formats/byte_reader.h"

namespace aquatint {
namespace {

// Enough for hundreds of thousands of tensors, and a bound on memory (each takes 72 bytes).
constexpr std::size_t kMaxValues = std::size_t{1} << 22;
constexpr int kOldestProtocol = 2, kNewestProtocol = 5;

// Opcodes and their names as in Python's pickletools.
enum Opcode : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyTuple = ')',
  kEmptyDict = '}',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

// What a pickle that uses an opcode beyond those wants, for messages.
const char* refused_opcode_name(std::uint8_t opcode) {
  static constexpr std::pair<char, const char*> kNames[] = {
      {'i', "INST, which makes an instance of a class"},
      {'o', "OBJ, which makes an instance of a class"},
      {'P', "PERSID"},
      {'I', "INT"},
      {'L', "LONG"},
      {'F', "FLOAT"},
      {'S', "STRING"},
      {'V', "UNICODE"},
      {'d', "DICT"},
      {'l', "LIST"},
      {'g', "GET"},
      {'p', "PUT"},
      {'0', "POP"},
      {'1', "POP_MARK"},
      {'2', "DUP"},
      {'\x82', "EXT1, which refers to a registry of extensions"},
      {'\x83', "EXT2, which refers to a registry of extensions"},
      {'\x84', "EXT4, which refers to a registry of extensions"},
      {'\x8b', "LONG4"},
      {'\x91', "FROZENSET"},
      {'\x92', "NEWOBJ_EX, which makes an instance of a class"},
      {'\x96', "BYTEARRAY8"},
      {'\x97', "NEXT_BUFFER"},
      {'\x98', "READONLY_BUFFER"},
  };
  for (const auto& [code, name] : kNames) {
    if (static_cast<std::uint8_t>(code) == opcode) return name;
  }
  return nullptr;
}

class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> file, std::size_t begin,
                std::span<const std::string_view> allowed, const std::string& origin)
      : reader_(file, origin, begin), allowed_(allowed), origin_(origin) {}

  Pickle run() {
    check_protocol();
    for (;;) {
      const std::size_t at = reader_.position();
      const auto opcode = reader_.number<std::uint8_t>(kWhat);
      if (opcode == kStop) break;
      if (!scalar(opcode) && !text(opcode) && !container(opcode) && !reference(opcode)) {
        refuse_opcode(opcode, at);
      }
    }
    out_.root = pop();
    if (!stack_.empty() || !marks_.empty()) corrupt("ends with values left over");
    out_.end = reader_.position();
    return std::move(out_);
  }

 private:
  static constexpr const char* kWhat = "a pickle";

  template <typename... Args>
  [[noreturn]] void corrupt(fmt::format_string<Args...> text, Args&&... args) const {
    raise(ErrorKind::kCorrupt, "'{}': not a sound pickle: byte {}: {}", origin_, reader_.position(),
          fmt::format(text, std::forward<Args>(args)...));
  }

  void check_protocol() {
    const std::size_t at = reader_.position();
    if (reader_.number<std::uint8_t>(kWhat) != kProto) {
      raise(ErrorKind::kCorrupt, "'{}': byte {}: not a pickle of protocol {} to {}", origin_, at,
            kOldestProtocol, kNewestProtocol);
    }
    const int protocol = reader_.number<std::uint8_t>(kWhat);
    if (protocol < kOldestProtocol || protocol > kNewestProtocol) {
      raise(ErrorKind::kUnsupported, "'{}': pickle protocol {} is not supported, only {} to {} are",
            origin_, protocol, kOldestProtocol, kNewestProtocol);
    }
  }

  [[noreturn]] void refuse_opcode(std::uint8_t opcode, std::size_t at) const {
    if (const char* name = refused_opcode_name(opcode)) {
      raise(ErrorKind::kUnsupported,
            "'{}': its pickle uses the instruction {} (byte {}), which no checkpoint needs and "
            "which is not carried out",
            origin_, name, at);
    }
    raise(ErrorKind::kCorrupt, "'{}': not a sound pickle: no instruction 0x{:02x} (byte {})",
          origin_, opcode, at);
  }

  // --- the stack -----------------------------------------------------------------------------

  PickleValue& push(PickleKind kind) {
    if (out_.values.size() >= kMaxValues) {
      raise(ErrorKind::kUnsupported, "'{}': its pickle has more than {} values", origin_,
            kMaxValues);
    }
    stack_.push_back(static_cast<PickleIndex>(out_.values.size()));
    out_.values.emplace_back();
    out_.values.back().kind = kind;
    return out_.values.back();
  }

  // Values above the last mark are all that an instruction may reach.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleIndex pop() {
    if (stack_.size() <= floor()) corrupt("takes a value that is not there");
    const PickleIndex top = stack_.back();
    stack_.pop_back();
    return top;
  }

  PickleIndex top() const {
    if (stack_.size() <= floor()) corrupt("takes a value that is not there");
    return stack_.back();
  }

  std::vector<PickleIndex> pop_to_mark() {
    if (marks_.empty()) corrupt("takes values from a mark that is not there");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleIndex> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  void push_tuple(std::vector<PickleIndex> items) {
    push(PickleKind::kTuple).items = std::move(items);
  }

  void push_tuple_of(int count) {
    std::vector<PickleIndex> items(static_cast<std::size_t>(count));
    for (auto item = items.rbegin(); item != items.rend(); ++item) *item = pop();
    push_tuple(std::move(items));
  }

  void push_int(std::int64_t value) { push(PickleKind::kInt).integer = value; }

  // --- instructions, by group; each says whether the opcode is one of its own ----------------

  bool scalar(std::uint8_t opcode) {
    switch (opcode) {
      case kNone:
        push(PickleKind::kNone);
        return true;
      case kNewTrue:
      case kNewFalse:
        push(PickleKind::kBool).integer = opcode == kNewTrue ? 1 : 0;
        return true;
      case kBinInt:
        push_int(reader_.number<std::int32_t>(kWhat));
        return true;
      case kBinInt1:
        push_int(reader_.number<std::uint8_t>(kWhat));
        return true;
      case kBinInt2:
        push_int(reader_.number<std::uint16_t>(kWhat));
        return true;
      case kLong1:
        push_long(reader_.text(reader_.number<std::uint8_t>(kWhat), kWhat));
        return true;
      case kBinFloat:  // the one number that is big endian
        push(PickleKind::kFloat).number =
            std::bit_cast<double>(__builtin_bswap64(reader_.number<std::uint64_t>(kWhat)));
        return true;
      case kFrame:
        if (const auto size = reader_.number<std::uint64_t>(kWhat); size > reader_.remaining()) {
          corrupt("a frame of {} bytes; {} are left", size, reader_.remaining());
        }
        return true;
      default:
        return false;
    }
  }

  void push_long(std::string_view bytes) {
    if (bytes.size() > sizeof(std::int64_t)) {
      push(PickleKind::kBigInt).text = bytes;
      return;
    }
    const bool negative = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80) != 0;
    std::uint64_t bits = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = bytes.size(); i-- > 0;) {
      bits = (bits << 8) | static_cast<unsigned char>(bytes[i]);
    }
    push_int(static_cast<std::int64_t>(bits));
  }

  bool text(std::uint8_t opcode) {
    switch (opcode) {
      case kShortBinUnicode:
      case kShortBinString:
        return push_text(PickleKind::kString, reader_.number<std::uint8_t>(kWhat));
      case kBinUnicode:
      case kBinString:
        return push_text(PickleKind::kString, reader_.number<std::uint32_t>(kWhat));
      case kBinUnicode8:
        return push_text(PickleKind::kString, reader_.number<std::uint64_t>(kWhat));
      case kShortBinBytes:
        return push_text(PickleKind::kBytes, reader_.number<std::uint8_t>(kWhat));
      case kBinBytes:
        return push_text(PickleKind::kBytes, reader_.number<std::uint32_t>(kWhat));
      case kBinBytes8:
        return push_text(PickleKind::kBytes, reader_.number<std::uint64_t>(kWhat));
      default:
        return false;
    }
  }

  bool push_text(PickleKind kind, std::uint64_t size) {
    push(kind).text = reader_.text(size, kWhat);
    return true;
  }

  bool container(std::uint8_t opcode) {
    switch (opcode) {
      case kMark:
        marks_.push_back(stack_.size());
        return true;
      case kEmptyTuple:
        push(PickleKind::kTuple);
        return true;
      case kEmptyList:
      case kEmptySet:
        push(PickleKind::kList);
        return true;
      case kEmptyDict:
        push(PickleKind::kDict);
        return true;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        push_tuple_of(opcode - kTuple1 + 1);
        return true;
      case kTuple:
        push_tuple(pop_to_mark());
        return true;
      case kAppend:
        append({pop()});
        return true;
      case kAppends:
      case kAddItems:
        append(pop_to_mark());
        return true;
      case kSetItem: {
        const PickleIndex value = pop();
        set_items({pop(), value});
        return true;
      }
      case kSetItems:
        set_items(pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  void append(const std::vector<PickleIndex>& items) {
    PickleValue& list = out_.values[top()];
    if (list.kind != PickleKind::kList) corrupt("appends to what is no list");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }

  void set_items(const std::vector<PickleIndex>& items) {
    PickleValue& dict = out_.values[top()];
    if (dict.kind != PickleKind::kDict && dict.kind != PickleKind::kCall) {
      corrupt("sets elements of what is no dict");
    }
    if (items.size() % 2 != 0) corrupt("a key without a value");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }

  bool reference(std::uint8_t opcode) {
    switch (opcode) {
      case kGlobal: {
        const std::string_view module = line();
        push_global(module, line());
        return true;
      }
      case kStackGlobal: {
        const PickleValue name = out_.values[pop()], module = out_.values[pop()];
        if (name.kind != PickleKind::kString || module.kind != PickleKind::kString) {
          corrupt("the name of a global is no string");
        }
        push_global(module.text, name.text);
        return true;
      }
      case kReduce:
      case kNewObj:
        push_call();
        return true;
      case kBuild:
        build();
        return true;
      case kBinPersId: {
        const PickleIndex id = pop();
        push(PickleKind::kPersistent).items = {id};
        return true;
      }
      case kMemoize:
        remember(static_cast<std::uint32_t>(memo_.size()));
        return true;
      case kBinPut:
        remember(reader_.number<std::uint8_t>(kWhat));
        return true;
      case kLongBinPut:
        remember(reader_.number<std::uint32_t>(kWhat));
        return true;
      case kBinGet:
        recall(reader_.number<std::uint8_t>(kWhat));
        return true;
      case kLongBinGet:
        recall(reader_.number<std::uint32_t>(kWhat));
        return true;
      default:
        return false;
    }
  }

  // A line of text without its newline.
  std::string_view line() {
    constexpr std::size_t kMaxLine = 256;
    const std::size_t longest = std::min(reader_.remaining(), kMaxLine);
    ByteReader ahead = reader_;
    const std::string_view text = ahead.text(longest, kWhat);
    const std::size_t size = text.find('\n');
    if (size == std::string_view::npos) corrupt("the name of a global does not end");
    reader_.bytes(size + 1, kWhat);
    return text.substr(0, size);
  }

  void push_global(std::string_view module, std::string_view name) {
    const auto same = [&](std::string_view known) {
      return known.size() == module.size() + 1 + name.size() && known.starts_with(module) &&
             known[module.size()] == '.' && known.ends_with(name);
    };
    const auto found = std::find_if(allowed_.begin(), allowed_.end(), same);
    if (found == allowed_.end()) {
      raise(
          ErrorKind::kUnsupported,
          "'{}': its pickle asks for '{}.{}', which is not part of a checkpoint; nothing of it is "
          "run",
          origin_, printable(module), printable(name));
    }
    push(PickleKind::kGlobal).text = *found;
  }

  void push_call() {
    const PickleIndex arguments = pop(), callable = pop();
    if (out_.values[callable].kind != PickleKind::kGlobal) corrupt("calls what is no function");
    if (out_.values[arguments].kind != PickleKind::kTuple) corrupt("calls without arguments");
    push(PickleKind::kCall).items = {callable, arguments};
  }

  // Attributes of an object, such as the _metadata of a state dict: none of them is needed.
  void build() {
    pop();
    if (out_.values[top()].kind != PickleKind::kCall) {
      corrupt("sets attributes of what has none");
    }
  }

  void remember(std::uint32_t slot) { memo_[slot] = top(); }

  void recall(std::uint32_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) corrupt("recalls value {}, which was never stored", slot);
    stack_.push_back(found->second);
  }

  ByteReader reader_;
  std::span<const std::string_view> allowed_;
  const std::string& origin_;
  Pickle out_;
  std::vector<PickleIndex> stack_;
  std::vector<std::size_t> marks_;  // sizes of the stack
  std::unordered_map<std::uint32_t, PickleIndex> memo_;
};

}  // namespace

Pickle read_pickle(std::span<const std::byte> file, std::size_t begin,
                   std::span<const std::string_view> allowed, const std::string& origin) {
  return PickleMachine(file, begin, allowed, origin).run();
}

}  // namespace aquatint
