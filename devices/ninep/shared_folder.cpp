#include "devices/ninep/shared_folder.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string_view>

namespace ring3::ninep {
namespace {

// A guest's set-user-ID programs are no business of the host's users.
constexpr mode_t kFileMode = 0777, kFolderMode = 01777;
constexpr std::string_view kUserAttributes = "user.";
constexpr size_t kMostAttributeBytes = 64 * 1024;
// What a guest may ask of open(2). O_NONBLOCK: a pipe must not stop the machine.
constexpr int kOpenFlags = O_ACCMODE | O_TRUNC | O_APPEND | O_DSYNC | O_SYNC | O_DIRECTORY;
constexpr int kAlwaysFlags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

[[noreturn]] void Throw(int code) { throw HostError{code}; }

void Check(int result) {
  if (result < 0) Throw(errno);
}

/// Another way to name what a descriptor of O_PATH holds. It leads to that very object.
std::string SelfPath(const Node& node) { return "/proc/self/fd/" + std::to_string(node.fd.Get()); }

void RequireName(const std::string& name) {
  if (name.empty() || name == "." || name == "..") Throw(EINVAL);
  if (name.find('/') != std::string::npos || name.find('\0') != std::string::npos) Throw(EINVAL);
  if (name.size() > NAME_MAX) Throw(ENAMETOOLONG);
}

void RequireUserAttribute(const std::string& name, int code) {
  if (!name.starts_with(kUserAttributes) || name.find('\0') != std::string::npos) Throw(code);
}

}  // namespace

SharedFolder::SharedFolder(const std::string& path, bool read_only) : read_only_(read_only) {
  HostFd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) Throw(errno);
  root_ = std::make_shared<const Node>(Node{nullptr, "", std::move(fd)});
}

void SharedFolder::RequireWritable() const {
  if (read_only_) Throw(EROFS);
}

NodePointer SharedFolder::Walk(const NodePointer& from, const std::string& name) const {
  if (name == ".") return from;
  if (name == "..") return from->parent ? from->parent : from;
  RequireName(name);
  HostFd fd(openat(from->fd.Get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) Throw(errno);
  return std::make_shared<const Node>(Node{from, name, std::move(fd)});
}

struct stat SharedFolder::Status(const Node& node) const {
  struct stat status;
  Check(fstatat(node.fd.Get(), "", &status, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
  return status;
}

HostFd SharedFolder::Open(const Node& node, int flags) const {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
  if (writes) RequireWritable();
  const mode_t type = Status(node).st_mode & S_IFMT;
  if (type == S_IFLNK) Throw(ELOOP);
  if (type == S_IFCHR || type == S_IFBLK) Throw(ENXIO);  // a device is the host's, not its file's
  HostFd fd(open(SelfPath(node).c_str(), (flags & kOpenFlags) | kAlwaysFlags));
  if (!fd) Throw(errno);
  return fd;
}

HostFd SharedFolder::Create(const Node& folder, const std::string& name, int flags, mode_t mode) const {
  RequireWritable();
  RequireName(name);
  const int kept = (flags & (kOpenFlags | O_EXCL)) | O_CREAT | O_NOFOLLOW | kAlwaysFlags;
  HostFd fd(openat(folder.fd.Get(), name.c_str(), kept, mode & kFileMode));
  if (!fd) Throw(errno);
  fchmod(fd.Get(), mode & kFileMode);  // the guest has applied its own mask already
  return fd;
}

void SharedFolder::MakeFolder(const Node& folder, const std::string& name, mode_t mode) const {
  RequireWritable();
  RequireName(name);
  Check(mkdirat(folder.fd.Get(), name.c_str(), mode & kFolderMode));
  fchmodat(folder.fd.Get(), name.c_str(), mode & kFolderMode, AT_SYMLINK_NOFOLLOW);
}

void SharedFolder::MakeNode(const Node& folder, const std::string& name, mode_t mode) const {
  RequireWritable();
  RequireName(name);
  const mode_t type = mode & S_IFMT;
  if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != 0) Throw(EPERM);
  Check(mknodat(folder.fd.Get(), name.c_str(), type | (mode & kFileMode), 0));
}

void SharedFolder::MakeLink(const Node& folder, const std::string& name, const std::string& target) const {
  RequireWritable();
  RequireName(name);
  if (target.find('\0') != std::string::npos) Throw(EINVAL);
  Check(symlinkat(target.c_str(), folder.fd.Get(), name.c_str()));
}

void SharedFolder::MakeHardLink(const Node& folder, const std::string& name, const Node& target) const {
  RequireWritable();
  RequireName(name);
  Check(linkat(AT_FDCWD, SelfPath(target).c_str(), folder.fd.Get(), name.c_str(), AT_SYMLINK_FOLLOW));
}

std::string SharedFolder::LinkTarget(const Node& link) const {
  char target[PATH_MAX];
  const ssize_t bytes = readlinkat(link.fd.Get(), "", target, sizeof target);
  if (bytes < 0) Throw(errno == ENOENT ? EINVAL : errno);  // ENOENT: not a link
  return {target, static_cast<size_t>(bytes)};
}

void SharedFolder::Remove(const Node& folder, const std::string& name, bool is_folder) const {
  RequireWritable();
  RequireName(name);
  Check(unlinkat(folder.fd.Get(), name.c_str(), is_folder ? AT_REMOVEDIR : 0));
}

void SharedFolder::Rename(const Node& from, const std::string& name, const Node& to,
                          const std::string& new_name) const {
  RequireWritable();
  RequireName(name);
  RequireName(new_name);
  Check(renameat(from.fd.Get(), name.c_str(), to.fd.Get(), new_name.c_str()));
}

void SharedFolder::SetMode(const Node& node, mode_t mode) const {
  RequireWritable();
  const mode_t type = Status(node).st_mode & S_IFMT;
  if (type == S_IFLNK) Throw(EOPNOTSUPP);
  Check(fchmodat(AT_FDCWD, SelfPath(node).c_str(), mode & (type == S_IFDIR ? kFolderMode : kFileMode), 0));
}

void SharedFolder::SetOwner(const Node& node, uid_t user, gid_t group) const {
  RequireWritable();
  Check(fchownat(node.fd.Get(), "", user, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

void SharedFolder::SetSize(const Node& node, uint64_t bytes) const {
  RequireWritable();
  if ((Status(node).st_mode & S_IFMT) != S_IFREG) Throw(EINVAL);
  Check(truncate(SelfPath(node).c_str(), static_cast<off_t>(bytes)));
}

void SharedFolder::SetTimes(const Node& node, const timespec times[2]) const {
  RequireWritable();
  Check(utimensat(AT_FDCWD, SelfPath(node).c_str(), times, 0));
}

std::vector<uint8_t> SharedFolder::Attribute(const Node& node, const std::string& name) const {
  RequireUserAttribute(name, ENODATA);
  std::vector<uint8_t> value(kMostAttributeBytes);
  const ssize_t bytes = getxattr(SelfPath(node).c_str(), name.c_str(), value.data(), value.size());
  if (bytes < 0) Throw(errno);
  value.resize(static_cast<size_t>(bytes));
  return value;
}

std::vector<uint8_t> SharedFolder::AttributeNames(const Node& node) const {
  std::vector<char> all(kMostAttributeBytes);
  const ssize_t bytes = listxattr(SelfPath(node).c_str(), all.data(), all.size());
  if (bytes < 0) Throw(errno);
  std::vector<uint8_t> names;
  for (const char* at = all.data(); at < all.data() + bytes; at += std::string_view(at).size() + 1) {
    const std::string_view name(at);
    if (!name.starts_with(kUserAttributes)) continue;
    names.insert(names.end(), name.begin(), name.end());
    names.push_back(0);
  }
  return names;
}

void SharedFolder::SetAttribute(const Node& node, const std::string& name, const std::vector<uint8_t>& value,
                                int flags) const {
  RequireWritable();
  RequireUserAttribute(name, EOPNOTSUPP);
  if (value.empty()) {
    Check(removexattr(SelfPath(node).c_str(), name.c_str()));
  } else {
    Check(setxattr(SelfPath(node).c_str(), name.c_str(), value.data(), value.size(), flags));
  }
}

}  // namespace ring3::ninep
