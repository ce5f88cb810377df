#include "devices/block/image_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "devices/block/image.h"
#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

// QEMU's locks (block/file-posix.c documents them): a byte for each right that is used, and one for each right that
// others must not use.
constexpr off_t kUsedRights = 100, kDeniedRights = 200;
constexpr unsigned kRead = 0, kWrite = 1, kResize = 3;

struct flock OneByte(off_t at, short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = at;
  lock.l_len = 1;
  return lock;
}

/// False where the file system has no such locks: then there is nothing to be had.
bool TakeByte(int fd, off_t at) {
  struct flock lock = OneByte(at, F_RDLCK);
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool SomeoneHolds(int fd, off_t at) {
  struct flock lock = OneByte(at, F_WRLCK);
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

[[noreturn]] void ThrowErrno(const char* action, const std::string& path) {
  const int code = errno;
  throw ImageError(code, fmt::format("cannot {} {}: {}", action, path, std::strerror(code)));
}

void CheckKind(int fd, const std::string& path) {
  struct stat status = {};
  if (fstat(fd, &status) != 0) throw UsageError(fmt::format("cannot open image {}: {}", path, std::strerror(errno)));
  if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) return;
  throw UsageError(
      fmt::format("image {} is {}, not a file", path, S_ISDIR(status.st_mode) ? "a directory" : "a device"));
}

}  // namespace

ImageFile::ImageFile(const std::string& path, bool read_only) : path_(path), read_only_(read_only) {
  // O_NONBLOCK: a FIFO must not keep us waiting before it is refused.
  fd_ = open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    const bool protected_file = !read_only && (errno == EACCES || errno == EROFS || errno == EPERM);
    throw UsageError(fmt::format("cannot open image {}{}: {}{}", path, protected_file ? " for writing" : "",
                                 std::strerror(errno),
                                 protected_file ? " (readonly=on or --snapshot leave it unchanged)" : ""));
  }
  try {
    CheckKind(fd_, path);
    Lock();
    known_bytes_ = SizeBytes();
  } catch (...) {
    close(fd_);
    throw;
  }
}

ImageFile ImageFile::Temporary() {
  const char* const chosen = std::getenv("TMPDIR");
  std::string tried;
  for (const char* directory : {chosen, "/var/tmp", "/tmp"}) {
    if (!directory || !*directory) continue;
    std::string name = std::string(directory) + "/ring3-snapshot-XXXXXX";
    const int fd = mkostemp(name.data(), O_CLOEXEC);
    if (fd >= 0) {
      unlink(name.c_str());
      return ImageFile(fd, name + " (deleted)");
    }
    tried += fmt::format(" {}: {};", directory, std::strerror(errno));
  }
  throw UsageError(fmt::format("no temporary file for a snapshot can be made:{} set TMPDIR", tried));
}

ImageFile::ImageFile(ImageFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      read_only_(other.read_only_),
      known_bytes_(other.known_bytes_) {}

ImageFile::~ImageFile() {
  if (fd_ >= 0) close(fd_);
}

void ImageFile::Lock() const {
  if (!TakeByte(fd_, kUsedRights + kRead)) return;
  TakeByte(fd_, kDeniedRights + kWrite);
  if (!read_only_) {
    TakeByte(fd_, kUsedRights + kWrite);
    TakeByte(fd_, kUsedRights + kResize);
    TakeByte(fd_, kDeniedRights + kResize);
  }
  const bool others_write = SomeoneHolds(fd_, kUsedRights + kWrite);
  const bool others_object =
      !read_only_ && (SomeoneHolds(fd_, kDeniedRights + kWrite) || SomeoneHolds(fd_, kDeniedRights + kResize));
  if (!others_write && !others_object && !SomeoneHolds(fd_, kDeniedRights + kRead)) return;
  throw UsageError(fmt::format("image {} is in use by another {} (a file given twice counts, too)", path_,
                               others_write ? "writer" : "program"));
}

uint64_t ImageFile::SizeBytes() const {
  struct stat status = {};
  if (fstat(fd_, &status) != 0) ThrowErrno("examine", path_);
  if (!S_ISBLK(status.st_mode)) return static_cast<uint64_t>(status.st_size);
  uint64_t bytes = 0;
  if (ioctl(fd_, BLKGETSIZE64, &bytes) != 0) ThrowErrno("examine", path_);
  return bytes;
}

size_t ImageFile::ReadSome(uint64_t offset, std::span<uint8_t> into) const {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) ThrowErrno("read", path_);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void ImageFile::Read(uint64_t offset, std::span<uint8_t> into) const {
  const size_t got = ReadSome(offset, into);
  const uint64_t expected = offset < known_bytes_ ? std::min<uint64_t>(into.size(), known_bytes_ - offset) : 0;
  if (got < expected) throw ImageError(EIO, fmt::format("cannot read {}: the file has become shorter", path_));
  std::fill(into.begin() + static_cast<ptrdiff_t>(got), into.end(), uint8_t{0});
}

void ImageFile::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (SizeBytes() < known_bytes_) {
    throw ImageError(EIO, fmt::format("cannot write {}: the file has become shorter", path_));
  }
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t put = pwrite(fd_, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) ThrowErrno("write", path_);
    if (put == 0) throw ImageError(ENOSPC, fmt::format("cannot write {}: no space", path_));
    done += static_cast<size_t>(put);
    known_bytes_ = std::max(known_bytes_, offset + done);
  }
}

void ImageFile::Flush() const {
  if (fdatasync(fd_) != 0) ThrowErrno("flush", path_);
}

}  // namespace ring3
