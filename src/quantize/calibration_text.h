// The documents that calibration data is cut from: a text file, JSON lines, the data of an
// evaluation task, or the sample inside the program.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace aquatint {

// Data of an evaluation task by name, as its file in the data folder has it.
struct CalibrationSet {
  const char* name;       // "wikitext"
  const char* summary;    // one line for help
  const char* data_file;  // in the data folder
  std::vector<std::string> (*read)(const std::filesystem::path& file);
};

const std::vector<CalibrationSet>& calibration_sets();
// Null when there is none of that name.
const CalibrationSet* find_calibration_set(std::string_view name);
// Null unless it is the data file of a set, wherever it lies.
const CalibrationSet* calibration_set_of_file(const std::filesystem::path& file);

// The documents of a file: with the ending .jsonl or .json the string at `key` (empty: "page" or
// "text") of the object on each line, otherwise one document. Error kNotFound, kIo, kCorrupt (an
// empty file, not UTF-8, a line without such a string, by its number) or kUnsupported (Parquet and
// compressed files, with what to do).
std::vector<std::string> read_calibration_file(const std::filesystem::path& file,
                                               const std::string& key);

}  // namespace aquatint
