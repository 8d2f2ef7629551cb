// How long a run will take, from a sample of the work itself: a few rows of the model are read,
// hashed, rounded and packed, and what comes of them is written to the disk of the output. So the
// estimate knows this machine, this recipe and what else is going on; it does not know how they
// change during the run.
#pragma once

#include <filesystem>

#include "device/device.h"
#include "quantize/plan.h"

namespace aquatint {

// Seconds for the whole plan, from the beginning, when `device` rounds. Takes some 50 ms on a local
// disk, and on a GPU what it takes to start it; leaves no file.
double estimate_seconds(const Checkpoint& checkpoint, const Plan& plan,
                        const std::filesystem::path& output, Device device = {});

}  // namespace aquatint
