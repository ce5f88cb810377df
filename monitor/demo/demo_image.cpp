#include "monitor/demo/demo_image.h"

// demo_image.S
extern "C" const uint8_t ring3_demo_kernel_begin[], ring3_demo_kernel_end[];

namespace ring3 {

std::span<const uint8_t> DemoKernelImage() { return {ring3_demo_kernel_begin, ring3_demo_kernel_end}; }

}  // namespace ring3
