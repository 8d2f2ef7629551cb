// Runs another program and reads what it prints, for measurements that want a process of their own.
#pragma once

#include <string>
#include <vector>

namespace aquatint {

// Path of the running program.
std::string self_path();
// Path of the first executable of that name in the folders of $PATH; empty if there is none.
std::string find_program(const std::string& name);
// Runs `path` with `arguments` (no shell), standard error passed through, and returns its standard
// output. Error kIo when it cannot be started; kInvalidArgument with its exit code when it fails.
std::string run_process(const std::string& path, const std::vector<std::string>& arguments);

}  // namespace aquatint
