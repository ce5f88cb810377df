#include "bench/disk_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

namespace ring3::bench {

DiskFile::DiskFile(const std::string& folder, uint64_t bytes) {
  std::string name = folder + "/ring3-bench.XXXXXX";
  fd_ = mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) throw std::runtime_error("bench: cannot make a file in " + folder);
  unlink(name.c_str());
  if (ftruncate(fd_, static_cast<off_t>(bytes)) == 0) return;
  close(fd_);
  throw std::runtime_error(fmt::format("bench: cannot make a file of {} bytes in {}", bytes, folder));
}

DiskFile::~DiskFile() { close(fd_); }

std::string DiskFile::Path() const { return fmt::format("/proc/{}/fd/{}", getpid(), fd_); }

}  // namespace ring3::bench
