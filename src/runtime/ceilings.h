// What a device can do at most: the rates that every measured speed is set against. Measured in the
// same process as the speed, by the plainest code there is.
#pragma once

#include "device/device.h"

namespace aquatint {

struct Ceilings {
  // From memory: on the CPU reading with all threads; on a GPU copying, counting bytes read and
  // bytes written.
  double read_bytes_per_second = 0;
  // Library products per second: 512 x 2048 x 2048 on the CPU, 8192 x 8192 x 8192 on a GPU (float32
  // 4096 x 4096 x 4096).
  double f32_flops = 0, bf16_flops = 0, int8_ops = 0;
};

// Takes about two seconds, and half a gigabyte (on a GPU two).
Ceilings measure_ceilings(Device device);

}  // namespace aquatint
