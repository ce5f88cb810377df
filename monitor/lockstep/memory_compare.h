// Two machines' RAM, compared and copied through the file that holds it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "shadowmmu/physical_memory.h"

namespace ring3::lockstep {

class MemoryCompare {
 public:
  /// `other`: the process whose RAM `mine` is compared with.
  MemoryCompare(PhysicalMemory& mine, pid_t other);
  ~MemoryCompare();
  MemoryCompare(const MemoryCompare&) = delete;

  /// Makes all of `mine` what the other process has in its descriptor `fd`.
  void CopyFrom(int fd);
  /// Says where and how the first different dword differs. Where only accessed and dirty bits of what may be a paging
  /// entry do, that is no difference (the processor may set them at several moments): it is counted, and mended.
  std::optional<std::string> FirstDifference(int fd, uint64_t& accessed_bits);

 private:
  void Open(int fd);
  /// Page numbers that hold something in either.
  std::vector<uint64_t> TouchedPages() const;
  std::optional<std::string> ComparePage(uint64_t page, uint64_t& accessed_bits);

  PhysicalMemory& mine_;
  pid_t other_;
  int other_fd_ = -1, opened_ = -1;
  uint8_t* theirs_ = nullptr;
};

}  // namespace ring3::lockstep
