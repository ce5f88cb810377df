#include "translator/return_stack.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace ring3 {

ReturnStack::ReturnStack(uint64_t sentinel) {
  // A guard at either end: nothing else comes to lie where a stray push or pop would reach it.
  constexpr uint64_t kAll = kGuardBytes + kBytes + kGuardBytes;
  void* memory = mmap(nullptr, kAll, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "return stack");
  memory_ = reinterpret_cast<uint64_t>(memory);
  void* usable = reinterpret_cast<void*>(memory_ + kGuardBytes);
  if (mprotect(usable, kBytes, PROT_READ | PROT_WRITE) != 0) {
    throw std::system_error(errno, std::generic_category(), "return stack");
  }
  std::memcpy(reinterpret_cast<void*>(Empty()), &sentinel, sizeof sentinel);
}

ReturnStack::~ReturnStack() { munmap(reinterpret_cast<void*>(memory_), kGuardBytes + kBytes + kGuardBytes); }

}  // namespace ring3
