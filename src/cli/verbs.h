// The verbs of the program, one file each. A verb declares its options on a subcommand and sets
// what runs when it is chosen; it holds no logic of its own beyond reading options and printing
// results.
#pragma once

namespace CLI {
class App;
}

namespace aquatint::cli {

void add_bench(CLI::App& program);
void add_compare(CLI::App& program);
void add_completion(CLI::App& program);
void add_eval(CLI::App& program);
void add_export(CLI::App& program);
void add_inspect(CLI::App& program);
void add_logits(CLI::App& program);
void add_pull(CLI::App& program);
void add_quantize(CLI::App& program);
void add_run(CLI::App& program);
void add_sensitivity(CLI::App& program);
void add_synth(CLI::App& program);
void add_tokenize(CLI::App& program);

}  // namespace aquatint::cli
