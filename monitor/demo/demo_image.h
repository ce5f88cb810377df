// The kernel that `ring3 demo` runs: a 32-bit ELF with a Multiboot 1 header, built from guest/ and embedded here.
#pragma once

#include <cstdint>
#include <span>

namespace ring3 {

/// The whole ELF file. Words on its command line: `e9` copies the output to port E9h, `checks=quick` waits less.
std::span<const uint8_t> DemoKernelImage();

}  // namespace ring3
