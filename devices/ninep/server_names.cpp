// Names in folders, and attributes of what they name.
#include <fcntl.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cerrno>

#include "devices/ninep/server.h"

namespace ring3::ninep {
namespace {

constexpr uint32_t kRemoveFolder = 0x200;  // AT_REMOVEDIR
constexpr uint32_t kFileSystemType = 0x01021997;
constexpr uint64_t kBasicAttributes = 0x7FF;
// Which attributes are set.
constexpr uint32_t kSetMode = 0x01, kSetUser = 0x02, kSetGroup = 0x04, kSetSize = 0x08, kSetAccess = 0x10,
                   kSetModify = 0x20, kSetAccessTo = 0x80, kSetModifyTo = 0x100;
constexpr uint64_t kMostAttributeBytes = 64 * 1024;

void PutTime(Writer& out, const timespec& time) {
  out.Put<uint64_t>(static_cast<uint64_t>(time.tv_sec));
  out.Put<uint64_t>(static_cast<uint64_t>(time.tv_nsec));
}

timespec TimeOf(bool set, bool to, uint64_t seconds, uint64_t nanoseconds) {
  if (!set) return {0, UTIME_OMIT};
  if (!to) return {0, UTIME_NOW};
  return {static_cast<time_t>(seconds), static_cast<long>(nanoseconds % 1'000'000'000)};
}

}  // namespace

void Server::MakeFolder(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const std::string name = in.String();
  const auto mode = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  const Node& folder = *Find(number).node;
  folder_.MakeFolder(folder, name, mode);
  PutQidOf(out, folder, name);
}

void Server::MakeNode(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const std::string name = in.String();
  const auto mode = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  const Node& folder = *Find(number).node;
  folder_.MakeNode(folder, name, mode);
  PutQidOf(out, folder, name);
}

void Server::MakeLink(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  const std::string name = in.String(), target = in.String();
  if (!in.Good()) throw HostError{EINVAL};
  const Node& folder = *Find(number).node;
  folder_.MakeLink(folder, name, target);
  PutQidOf(out, folder, name);
}

void Server::MakeHardLink(Reader& in, Writer&) {
  const auto folder = in.Take<uint32_t>(), target = in.Take<uint32_t>();
  const std::string name = in.String();
  if (!in.Good()) throw HostError{EINVAL};
  folder_.MakeHardLink(*Find(folder).node, name, *Find(target).node);
}

void Server::ReadLink(Reader& in, Writer& out) { out.String(folder_.LinkTarget(*Find(in.Take<uint32_t>()).node)); }

void Server::Rename(Reader& in, Writer&) {
  const auto number = in.Take<uint32_t>(), folder = in.Take<uint32_t>();
  const std::string name = in.String();
  if (!in.Good()) throw HostError{EINVAL};
  Fid& fid = Find(number);
  const NodePointer to = Find(folder).node;
  if (!fid.node->parent) throw HostError{EBUSY};
  folder_.Rename(*fid.node->parent, fid.node->name, *to, name);
  HostFd same(fcntl(fid.node->fd.Get(), F_DUPFD_CLOEXEC, 0));
  if (!same) throw HostError{errno};
  fid.node = std::make_shared<const Node>(Node{to, name, std::move(same)});
}

void Server::RenameAt(Reader& in, Writer&) {
  const auto from = in.Take<uint32_t>();
  const std::string name = in.String();
  const auto to = in.Take<uint32_t>();
  const std::string new_name = in.String();
  if (!in.Good()) throw HostError{EINVAL};
  folder_.Rename(*Find(from).node, name, *Find(to).node, new_name);
}

void Server::UnlinkAt(Reader& in, Writer&) {
  const auto number = in.Take<uint32_t>();
  const std::string name = in.String();
  const auto flags = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  folder_.Remove(*Find(number).node, name, flags & kRemoveFolder);
}

// --- attributes ---

void Server::StatFolder(Reader& in, Writer& out) {
  const Fid& fid = Find(in.Take<uint32_t>());
  struct statfs status;
  if (fstatfs(fid.node->fd.Get(), &status) != 0) throw HostError{errno};
  out.Put<uint32_t>(kFileSystemType);
  out.Put<uint32_t>(static_cast<uint32_t>(status.f_bsize));
  for (const uint64_t count : {uint64_t{status.f_blocks}, uint64_t{status.f_bfree}, uint64_t{status.f_bavail},
                               uint64_t{status.f_files}, uint64_t{status.f_ffree}}) {
    out.Put<uint64_t>(count);
  }
  out.Put<uint64_t>(0);
  out.Put<uint32_t>(static_cast<uint32_t>(status.f_namelen));
}

void Server::GetAttributes(Reader& in, Writer& out) {
  const Fid& fid = Find(in.Take<uint32_t>());
  struct stat status;
  if (fid.io) {
    if (fstat(fid.io.Get(), &status) != 0) throw HostError{errno};
  } else {
    status = folder_.Status(*fid.node);
  }
  out.Put<uint64_t>(kBasicAttributes);
  PutQid(out, status);
  out.Put<uint32_t>(status.st_mode);
  out.Put<uint32_t>(status.st_uid);
  out.Put<uint32_t>(status.st_gid);
  out.Put<uint64_t>(status.st_nlink);
  out.Put<uint64_t>(status.st_rdev);
  out.Put<uint64_t>(static_cast<uint64_t>(status.st_size));
  out.Put<uint64_t>(static_cast<uint64_t>(status.st_blksize));
  out.Put<uint64_t>(static_cast<uint64_t>(status.st_blocks));
  PutTime(out, status.st_atim);
  PutTime(out, status.st_mtim);
  PutTime(out, status.st_ctim);
  PutTime(out, {});      // birth time: not asked of the host
  out.Put<uint64_t>(0);  // generation
  out.Put<uint64_t>(0);  // data version
}

void Server::SetAttributes(Reader& in, Writer&) {
  const auto number = in.Take<uint32_t>(), valid = in.Take<uint32_t>();
  const auto mode = in.Take<uint32_t>(), user = in.Take<uint32_t>(), group = in.Take<uint32_t>();
  const auto size = in.Take<uint64_t>();
  const auto access_s = in.Take<uint64_t>(), access_ns = in.Take<uint64_t>();
  const auto modify_s = in.Take<uint64_t>(), modify_ns = in.Take<uint64_t>();
  if (!in.Good()) throw HostError{EINVAL};
  folder_.RequireWritable();
  const Node& node = *Find(number).node;
  if (valid & kSetMode) folder_.SetMode(node, mode);
  if (valid & (kSetUser | kSetGroup)) {
    constexpr uint32_t kUnchanged = ~0u;
    folder_.SetOwner(node, valid & kSetUser ? user : kUnchanged, valid & kSetGroup ? group : kUnchanged);
  }
  if (valid & kSetSize) folder_.SetSize(node, size);
  if (valid & (kSetAccess | kSetModify)) {
    const timespec times[2] = {TimeOf(valid & kSetAccess, valid & kSetAccessTo, access_s, access_ns),
                               TimeOf(valid & kSetModify, valid & kSetModifyTo, modify_s, modify_ns)};
    folder_.SetTimes(node, times);
  }
}

/// A new fid from which the value is read; without a name, the names.
void Server::AttributeWalk(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>(), new_number = in.Take<uint32_t>();
  const std::string name = in.String();
  if (!in.Good()) throw HostError{EINVAL};
  const NodePointer node = Find(number).node;
  std::vector<uint8_t> value = name.empty() ? folder_.AttributeNames(*node) : folder_.Attribute(*node, name);
  Fid& fid = Add(new_number, node);
  fid.attribute = Fid::Attribute::kRead;
  fid.attribute_value = std::move(value);
  out.Put<uint64_t>(fid.attribute_value.size());
}

/// The fid becomes one to which the value is written; it is set when the fid is given up.
void Server::AttributeCreate(Reader& in, Writer&) {
  const auto number = in.Take<uint32_t>();
  const std::string name = in.String();
  const auto bytes = in.Take<uint64_t>();
  const auto flags = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  folder_.RequireWritable();
  if (bytes > kMostAttributeBytes) throw HostError{E2BIG};
  if (!name.starts_with("user.")) throw HostError{EOPNOTSUPP};
  Fid& fid = Find(number);
  if (fid.io || fid.attribute != Fid::Attribute::kNone) throw HostError{EBADF};
  fid.attribute = Fid::Attribute::kWrite;
  fid.attribute_name = name;
  fid.attribute_bytes = bytes;
  fid.attribute_flags = static_cast<int>(flags);
}

}  // namespace ring3::ninep
