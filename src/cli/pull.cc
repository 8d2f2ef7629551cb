#include "hub/pull.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/memory.h"
#include "cli/common.h"
#include "cli/options.h"
#include "cli/verbs.h"

namespace aquatint::cli {
namespace {

struct Options {
  std::string repo, revision, json;
  hub::PullOptions pull;
  std::int64_t connections = pull.connections;
};

nlohmann::json to_json(const hub::RepoName& repo, const hub::PullResult& result) {
  nlohmann::json out = {{"model", repo.name},
                        {"revision", repo.revision},
                        {"commit", result.commit},
                        {"folder", result.folder.string()},
                        {"bytes_downloaded", result.bytes_downloaded},
                        {"files", nlohmann::json::array()}};
  for (const hub::PulledFile& file : result.files) {
    out["files"].push_back(
        {{"name", file.name}, {"bytes", file.size}, {"was_cached", file.was_cached}});
  }
  return out;
}

void run(Options options) {
  check_output(options.json);
  hub::RepoName repo = hub::parse_repo_name(options.repo);
  if (!options.revision.empty()) {
    if (options.repo.find('@') != std::string::npos) {
      raise(ErrorKind::kInvalidArgument, "the revision is given twice: '{}' and --revision '{}'",
            options.repo, options.revision);
    }
    repo = hub::parse_repo_name(options.repo + "@" + options.revision);
  }
  options.pull.connections = static_cast<int>(options.connections);
  const hub::PullResult result = hub::pull(repo, hub_settings(), options.pull);
  if (!options.json.empty()) write_json(options.json, to_json(repo, result));
  if (options.json == "-") return;
  if (!options.pull.dry_run) return print(result.folder.string() + "\n");
  std::string text;
  for (const hub::PulledFile& file : result.files) {
    text += fmt::format("{:>12}  {}{}\n", format_bytes(static_cast<std::int64_t>(file.size)),
                        file.name, file.was_cached ? " (in the cache)" : "");
  }
  print(text + fmt::format("to download: {}\n",
                           format_bytes(static_cast<std::int64_t>(result.bytes_downloaded))));
}

}  // namespace

void add_pull(CLI::App& program) {
  constexpr std::int64_t kMostConnections = 64;
  auto options = std::make_shared<Options>();
  CLI::App* verb = program.add_subcommand(
      "pull", "Download a model from a Hub into the cache that Python's huggingface_hub uses");
  verb->add_option("repo", options->repo, "ORG/NAME, or ORG/NAME@REVISION")
      ->required()
      ->type_name("");
  add_text(*verb, "--revision", options->revision, "REVISION", "Branch, tag or commit")
      ->default_str("main");
  add_repeated(*verb, "--include", options->pull.include, "PATTERN",
               "Download the files that match, as '*.gguf', instead of those that a model needs");
  add_repeated(*verb, "--exclude", options->pull.exclude, "PATTERN", "Leave out files that match");
  add_count(*verb, "--connections", options->connections, 1, kMostConnections,
            "Parts of a large file that are downloaded at once");
  verb->add_flag("--dry-run", options->pull.dry_run, "Show what would be downloaded and stop");
  add_offline(*verb);
  add_json(*verb, options->json);
  verb->footer(
      "Prints the folder of the model. Interrupted downloads are continued by the same command.\n"
      "Environment: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE.\n"
      "\n"
      "Examples:\n"
      "  aquatint pull fla-hub/gla-1.3B-100B\n"
      "  aquatint pull some/model@v1.0 --dry-run\n"
      "  aquatint pull some/model --include '*Q4_K_M.gguf'");
  verb->callback([options] { run(*options); });
}

}  // namespace aquatint::cli
