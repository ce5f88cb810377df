#include "shadowmmu/window_space.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

constexpr uint64_t kWindowBytes = 4ull << 30;
constexpr int kReserveFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
/// Short runs are populated at once, which is cheaper than the fault that would follow; long ones may never be touched.
constexpr uint32_t kPopulatePages = 16;
/// Between the program and the top of the address space, where the host puts mappings that nobody asked an address for:
/// there they never fill a hole of ours.
constexpr uint64_t kPreferredStart = 0x2000'0000'0000;

uint64_t PageBytes(uint32_t pages) { return uint64_t{pages} << kPageShift; }

int Protection(bool writable) { return writable ? PROT_READ | PROT_WRITE : PROT_READ; }

}  // namespace

WindowSpace::WindowSpace(unsigned windows, int memory_fd) : windows_(windows), memory_fd_(memory_fd) {
  void* preferred = mmap(reinterpret_cast<void*>(kPreferredStart), Bytes(), PROT_NONE,
                         kReserveFlags | MAP_FIXED_NOREPLACE, -1, 0);
  if (preferred == reinterpret_cast<void*>(kPreferredStart)) {
    first_ = kPreferredStart;
    holes_ = true;
    for (unsigned w = 0; w < windows_; ++w) munmap(At(static_cast<WindowId>(w), 0), kWindowBytes);
    return;
  }
  if (preferred != MAP_FAILED) munmap(preferred, Bytes());
  ReserveAnywhere();
}

void WindowSpace::ReserveAnywhere() {
  const uint64_t wanted = Bytes() + kWindowBytes;  // room to align
  void* reservation = mmap(nullptr, wanted, PROT_NONE, kReserveFlags, -1, 0);
  if (reservation == MAP_FAILED) {
    throw UsageError("cannot reserve " + std::to_string(wanted >> 30) +
                     " GiB of address space for the guest's windows: " + std::strerror(errno));
  }
  const uint64_t start = reinterpret_cast<uint64_t>(reservation);
  first_ = (start + kWindowBytes - 1) & ~(kWindowBytes - 1);
  const uint64_t end = first_ + Bytes();
  if (first_ > start) munmap(reservation, first_ - start);
  if (start + wanted > end) munmap(reinterpret_cast<void*>(end), start + wanted - end);
}

WindowSpace::~WindowSpace() { munmap(reinterpret_cast<void*>(first_), Bytes()); }

bool WindowSpace::Map(WindowId window, uint32_t page, uint32_t pages, uint32_t physical_page, bool writable) {
  const int populate = pages <= kPopulatePages ? MAP_POPULATE : 0;
  return mmap(At(window, page), PageBytes(pages), Protection(writable), MAP_SHARED | MAP_FIXED | populate, memory_fd_,
              static_cast<off_t>(uint64_t{physical_page} << kPageShift)) != MAP_FAILED;
}

bool WindowSpace::Protect(WindowId window, uint32_t page, uint32_t pages, bool writable) {
  return mprotect(At(window, page), PageBytes(pages), Protection(writable)) == 0;
}

bool WindowSpace::Unmap(WindowId window, uint32_t page, uint32_t pages) {
  if (holes_) return munmap(At(window, page), PageBytes(pages)) == 0;
  return mmap(At(window, page), PageBytes(pages), PROT_NONE, kReserveFlags | MAP_FIXED, -1, 0) != MAP_FAILED;
}

}  // namespace ring3
