#include "monitor/lockstep/memory_compare.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace ring3::lockstep {
namespace {

constexpr uint32_t kPresentBit = 1u << 0, kAccessedAndDirty = 3u << 5;  // SDM 3A tables 4-5 and 4-6

void MarkTouched(int fd, uint64_t bytes, std::vector<bool>& touched) {
  for (off_t at = 0; static_cast<uint64_t>(at) < bytes;) {
    const off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0) return;
    const off_t hole = lseek(fd, data, SEEK_HOLE);
    const uint64_t end = (static_cast<uint64_t>(hole) + kPageMask) >> kPageShift;
    for (uint64_t page = static_cast<uint64_t>(data) >> kPageShift; page < end; ++page) touched[page] = true;
    at = hole;
  }
}

}  // namespace

MemoryCompare::MemoryCompare(PhysicalMemory& mine, pid_t other) : mine_(mine), other_(other) {}

MemoryCompare::~MemoryCompare() {
  if (theirs_) munmap(theirs_, mine_.RamBytes());
  if (opened_ >= 0) close(opened_);
}

void MemoryCompare::Open(int fd) {
  if (other_fd_ == fd) return;
  const std::string path = fmt::format("/proc/{}/fd/{}", other_, fd);
  opened_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* view = opened_ < 0 ? MAP_FAILED : mmap(nullptr, mine_.RamBytes(), PROT_READ, MAP_SHARED, opened_, 0);
  if (view == MAP_FAILED) throw std::system_error(errno, std::generic_category(), path);
  theirs_ = static_cast<uint8_t*>(view);
  other_fd_ = fd;
}

std::vector<uint64_t> MemoryCompare::TouchedPages() const {
  std::vector<bool> touched(mine_.RamBytes() >> kPageShift);
  MarkTouched(opened_, mine_.RamBytes(), touched);
  MarkTouched(mine_.MemoryFd(), mine_.RamBytes(), touched);
  std::vector<uint64_t> pages;
  for (uint64_t page = 0; page < touched.size(); ++page) {
    if (touched[page]) pages.push_back(page);
  }
  return pages;
}

void MemoryCompare::CopyFrom(int fd) {
  Open(fd);
  for (const uint64_t page : TouchedPages()) {
    const GuestPhysical address(page << kPageShift);
    const uint8_t* from = theirs_ + address.value;
    if (std::memcmp(mine_.Flat(address), from, kPageSize) == 0) continue;
    mine_.Write(address, {from, kPageSize});  // translations of it are dropped
  }
}

std::optional<std::string> MemoryCompare::FirstDifference(int fd, uint64_t& accessed_bits) {
  Open(fd);
  for (const uint64_t page : TouchedPages()) {
    const uint64_t at = page << kPageShift;
    if (std::memcmp(mine_.Flat(GuestPhysical(at)), theirs_ + at, kPageSize) == 0) continue;
    if (auto found = ComparePage(page, accessed_bits)) return found;
  }
  return std::nullopt;
}

std::optional<std::string> MemoryCompare::ComparePage(uint64_t page, uint64_t& accessed_bits) {
  for (uint32_t offset = 0; offset < kPageSize; offset += sizeof(uint32_t)) {
    const GuestPhysical address((page << kPageShift) + offset);
    uint32_t mine = 0, theirs = 0;
    std::memcpy(&mine, mine_.Flat(address), sizeof mine);
    std::memcpy(&theirs, theirs_ + address.value, sizeof theirs);
    if (mine == theirs) continue;
    if (!(mine & kPresentBit) || ((mine ^ theirs) & ~kAccessedAndDirty)) {
      return fmt::format("memory differs at physical address {:08x}: {:08x}, one instruction at a time {:08x}",
                         address.value, theirs, mine);
    }
    ++accessed_bits;
    std::memcpy(mine_.Flat(address), &theirs, sizeof theirs);
  }
  return std::nullopt;
}

}  // namespace ring3::lockstep
