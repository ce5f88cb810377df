// Open files and folders.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "devices/ninep/server.h"

namespace ring3::ninep {
namespace {

constexpr uint32_t kOpenForWriting = O_WRONLY | O_RDWR;
constexpr uint8_t kLockRead = 0, kLockWrite = 1, kLockNone = 2;
constexpr uint8_t kLockTaken = 0, kLockBlocked = 1;
constexpr uint8_t kQidFolder = 0x80, kQidLink = 0x02;
constexpr size_t kEntryBytes = 13 + 8 + 1 + 2;  // without the name
constexpr size_t kMostEntries = 1u << 20;

struct flock LockOf(uint8_t type, uint64_t start, uint64_t length) {
  struct flock lock = {};
  lock.l_type = type == kLockRead ? F_RDLCK : type == kLockWrite ? F_WRLCK : F_UNLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(start);
  lock.l_len = static_cast<off_t>(length);
  return lock;
}

}  // namespace

void Server::Open(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>(), flags = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  Fid& fid = Find(number);
  if (fid.io || fid.attribute != Fid::Attribute::kNone) throw HostError{EBADF};
  const struct stat status = folder_.Status(*fid.node);
  fid.is_folder = S_ISDIR(status.st_mode);
  if (fid.is_folder && (flags & kOpenForWriting)) throw HostError{EISDIR};
  fid.io = folder_.Open(*fid.node, static_cast<int>(flags));
  PutQid(out, status);
  out.Put<uint32_t>(0);  // any unit of transfer
}

void Server::Create(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const std::string name = in.String();
  const auto flags = in.Take<uint32_t>(), mode = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  Fid& fid = Find(number);
  if (fid.io || fid.attribute != Fid::Attribute::kNone) throw HostError{EBADF};
  HostFd io = folder_.Create(*fid.node, name, static_cast<int>(flags), mode);
  NodePointer node = folder_.Walk(fid.node, name);
  struct stat status;
  if (fstat(io.Get(), &status) != 0) throw HostError{errno};
  PutQid(out, status);
  out.Put<uint32_t>(0);
  fid.io = std::move(io);
  fid.node = std::move(node);
}

void Server::Read(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const auto offset = in.Take<uint64_t>();
  const auto count = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  const Fid& fid = Find(number);
  const size_t count_at = out.Size();
  out.Put<uint32_t>(0);
  const size_t most = std::min<size_t>(count, MostData(out));
  size_t got = 0;
  if (fid.attribute == Fid::Attribute::kRead) {
    const std::vector<uint8_t>& value = fid.attribute_value;
    const size_t from = static_cast<size_t>(std::min<uint64_t>(offset, value.size()));
    got = std::min(most, value.size() - from);
    std::copy_n(value.begin() + static_cast<ptrdiff_t>(from), got, out.Append(got).begin());
  } else {
    const int fd = FindOpen(number).io.Get();
    const std::span<uint8_t> room = out.Append(most);
    ssize_t result = pread(fd, room.data(), room.size(), static_cast<off_t>(offset));
    if (result < 0 && errno == ESPIPE) result = read(fd, room.data(), room.size());
    if (result < 0) throw HostError{errno};
    got = static_cast<size_t>(result);
    out.Shrink(count_at + 4 + got);
  }
  out.Patch<uint32_t>(count_at, static_cast<uint32_t>(got));
}

void Server::Write(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const auto offset = in.Take<uint64_t>();
  const std::span<const uint8_t> data = in.Bytes(in.Take<uint32_t>());
  if (!in.Good()) throw HostError{EINVAL};
  Fid& fid = Find(number);
  size_t written = data.size();
  if (fid.attribute == Fid::Attribute::kWrite) {
    if (offset != fid.attribute_value.size() || data.size() > fid.attribute_bytes - fid.attribute_value.size())
      throw HostError{ENOSPC};
    fid.attribute_value.insert(fid.attribute_value.end(), data.begin(), data.end());
  } else {
    folder_.RequireWritable();
    const int fd = FindOpen(number).io.Get();
    ssize_t result = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (result < 0 && errno == ESPIPE) result = write(fd, data.data(), data.size());
    if (result < 0) throw HostError{errno};
    written = static_cast<size_t>(result);
  }
  out.Put<uint32_t>(static_cast<uint32_t>(written));
}

/// All entries at once: offsets then stay good whatever is created or removed while the client reads on.
void Server::ListFolder(Fid& fid) {
  fid.entries.clear();
  const int fd = openat(fid.io.Get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw HostError{errno};
  DIR* directory = fdopendir(fd);
  if (!directory) {
    close(fd);
    throw HostError{errno};
  }
  while (const dirent* entry = readdir(directory)) {
    if (fid.entries.size() == kMostEntries) break;
    uint64_t inode = entry->d_ino;
    // What lies above the shared folder is not to be seen.
    if (!fid.node->parent && std::string_view(entry->d_name) == "..") inode = folder_.Status(*fid.node).st_ino;
    fid.entries.push_back({inode, entry->d_type, entry->d_name});
  }
  closedir(directory);
}

void Server::ReadFolder(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const auto offset = in.Take<uint64_t>();
  const auto count = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  Fid& fid = FindOpen(number);
  if (!fid.is_folder) throw HostError{ENOTDIR};
  if (offset == 0) ListFolder(fid);
  const size_t count_at = out.Size();
  out.Put<uint32_t>(0);
  const size_t start = out.Size(), most = std::min<size_t>(count, MostData(out));
  for (uint64_t i = offset; i < fid.entries.size(); ++i) {
    const DirectoryEntry& entry = fid.entries[static_cast<size_t>(i)];
    if (out.Size() - start + kEntryBytes + entry.name.size() > most) break;
    out.Put<uint8_t>(entry.type == DT_DIR ? kQidFolder : entry.type == DT_LNK ? kQidLink : 0);
    out.Put<uint32_t>(0);
    out.Put<uint64_t>(entry.inode);
    out.Put<uint64_t>(i + 1);
    out.Put<uint8_t>(entry.type);
    out.String(entry.name);
  }
  out.Patch<uint32_t>(count_at, static_cast<uint32_t>(out.Size() - start));
}

void Server::Sync(Reader& in, Writer&) {
  const auto number = in.Take<uint32_t>(), data_only = in.Take<uint32_t>();
  const int fd = FindOpen(number).io.Get();
  if ((data_only ? fdatasync(fd) : fsync(fd)) != 0) throw HostError{errno};
}

/// Each fid is an owner of its own. A lock that is taken is the client's to wait for.
void Server::Lock(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const auto type = in.Take<uint8_t>();
  in.Take<uint32_t>();  // flags
  const auto start = in.Take<uint64_t>(), length = in.Take<uint64_t>();
  if (!in.Good() || type > kLockNone) throw HostError{EINVAL};
  struct flock lock = LockOf(type, start, length);
  const bool taken = fcntl(FindOpen(number).io.Get(), F_OFD_SETLK, &lock) == 0;
  if (!taken && errno != EAGAIN && errno != EACCES) throw HostError{errno};
  out.Put<uint8_t>(taken ? kLockTaken : kLockBlocked);
}

void Server::GetLock(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const auto type = in.Take<uint8_t>();
  const auto start = in.Take<uint64_t>(), length = in.Take<uint64_t>();
  const auto process = in.Take<uint32_t>();
  const std::string client = in.String();
  if (!in.Good() || type >= kLockNone) throw HostError{EINVAL};
  struct flock lock = LockOf(type, start, length);
  if (fcntl(FindOpen(number).io.Get(), F_OFD_GETLK, &lock) != 0) throw HostError{errno};
  const bool free = lock.l_type == F_UNLCK;
  out.Put<uint8_t>(free ? kLockNone : lock.l_type == F_RDLCK ? kLockRead : kLockWrite);
  out.Put<uint64_t>(free ? start : static_cast<uint64_t>(lock.l_start));
  out.Put<uint64_t>(free ? length : static_cast<uint64_t>(lock.l_len));
  out.Put<uint32_t>(process);
  out.String(client);
}

}  // namespace ring3::ninep
