// What a compiler at run time does: writes a function over the one before it and calls it.
#include <string.h>
#include <sys/mman.h>

#include "programs.h"

namespace programs {

uint32_t JitRewrite(uint32_t size) {
  constexpr uint32_t kPage = 4096;
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 0;
  auto* code = static_cast<uint8_t*>(page);
  uint32_t hash = kMixStart;
  for (uint32_t i = 0; i < size; ++i) {
    // MOV EAX, [ESP+4]; ADD EAX, i; ROL EAX, i % 32; RET
    const uint8_t function[] = {0x8B,
                                0x44,
                                0x24,
                                0x04,
                                0x05,
                                uint8_t(i),
                                uint8_t(i >> 8),
                                uint8_t(i >> 16),
                                uint8_t(i >> 24),
                                0xC1,
                                0xC0,
                                uint8_t(i % 32),
                                0xC3};
    memcpy(code, function, sizeof function);
    uint32_t (*call)(uint32_t);
    memcpy(&call, &page, sizeof call);
    for (int k = 0; k < 10; ++k) hash = Mix(hash, call(hash));
  }
  munmap(page, kPage);
  return hash;
}

}  // namespace programs
