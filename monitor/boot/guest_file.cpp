#include "monitor/boot/guest_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "monitor/cpu/fault.h"
#include "shadowmmu/physical_memory.h"

namespace ring3 {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int Get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void Refuse(const std::string& what, const std::string& path, const std::string& why) {
  throw UsageError(what + " " + path + ": " + why);
}

}  // namespace

Bytes ReadGuestFile(const std::string& what, const std::string& path) {
  // O_NONBLOCK: opening a FIFO nobody writes to must not hang before it is refused.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.Get() < 0) Refuse(what, path, std::strerror(errno));
  struct stat status;
  if (fstat(file.Get(), &status) != 0) Refuse(what, path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) Refuse(what, path, "is a directory");
  if (!S_ISREG(status.st_mode)) Refuse(what, path, "is not a regular file");
  if (status.st_size == 0) Refuse(what, path, "is empty");
  if (static_cast<uint64_t>(status.st_size) > PhysicalMemory::kMaxRam) Refuse(what, path, "is too large for any guest");

  Bytes content(static_cast<size_t>(status.st_size));
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t got = read(file.Get(), content.data() + done, content.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) Refuse(what, path, std::strerror(errno));
    if (got == 0) Refuse(what, path, "shrank while it was read");
    done += static_cast<size_t>(got);
  }
  return content;
}

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace ring3
