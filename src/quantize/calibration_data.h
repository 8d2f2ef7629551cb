// What a model is calibrated on: sequences of tokens cut from texts, and an account of how.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/bos_policy.h"
#include "text/tokenizer.h"

namespace aquatint {

struct CalibrationData {
  std::string name;                             // of the file, the set or the built-in sample
  std::vector<std::vector<TokenId>> sequences;  // none empty
  std::int64_t documents = 0;                   // looked at until there were enough sequences
  std::int64_t skipped = 0;                     // of these, without enough tokens
  std::int64_t requested = 0;                   // sequences asked for
  std::string warning;                          // what whoever reads the results should know

  std::int64_t tokens() const;
  // One line: name, sizes, fingerprint.
  std::string summary() const;
  // Changes when the sequences do.
  std::string fingerprint() const;
};

// How documents become sequences.
enum class CalibrationJoin {
  kConcatenate,  // joined with "\n\n" and cut; the last piece too, if it has the minimum length
  kTruncate,     // the beginning of each that has the minimum length
};

// "concatenate", "truncate".
const char* calibration_join_name(CalibrationJoin join);
std::optional<CalibrationJoin> calibration_join_from_name(std::string_view name);
std::vector<std::string> calibration_join_names();

struct CalibrationDataOptions {
  std::string source;  // a set (calibration_sets) or a file; empty: the sample in the program
  std::filesystem::path data_folder;  // where the files of sets are
  std::string key;                    // of the text in JSON lines; empty: "page" or "text"
  std::int64_t samples = 128;         // sequences, at most
  std::int64_t length = 512;          // tokens of one, at most, BOS included
  std::int64_t min_length = 64;
  CalibrationJoin join = CalibrationJoin::kConcatenate;
  std::optional<std::uint64_t> seed;      // shuffles the documents; none: as they come
  BosPolicy bos = BosPolicy::kTokenizer;  // at the start of each sequence
};

// Reads and cuts. max_positions: of the model (0: none). Warns where the data is the test set of a
// task. Error kInvalidArgument when lengths contradict each other or the model, or when nothing is
// long enough; kNotFound for a set's file that is missing; those of read_calibration_file.
CalibrationData load_calibration_data(const CalibrationDataOptions& options,
                                      const Tokenizer& tokenizer, std::int64_t max_positions);

// Tokens of sequences: the least, the middle one, what 90 % do not exceed, the most.
struct CalibrationLengths {
  std::int64_t min = 0, median = 0, p90 = 0, max = 0;
};
CalibrationLengths calibration_lengths(const CalibrationData& data);
// Two lines: sequences and tokens, and what they were made of.
std::vector<std::string> calibration_lines(const CalibrationData& data);

}  // namespace aquatint
