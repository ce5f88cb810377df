// Messages to functions; the session and its fids.
#include "devices/ninep/server.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

namespace ring3::ninep {
namespace {

constexpr uint8_t kRlerror = 7;
constexpr size_t kMostFids = 16384;
constexpr unsigned kMostNames = 16;  // of a walk
constexpr uint8_t kQidFolder = 0x80, kQidLink = 0x02;

enum Type : uint8_t {
  kStatfs = 8,
  kLopen = 12,
  kLcreate = 14,
  kSymlink = 16,
  kMknod = 18,
  kRename = 20,
  kReadlink = 22,
  kGetattr = 24,
  kSetattr = 26,
  kXattrwalk = 30,
  kXattrcreate = 32,
  kReaddir = 40,
  kFsync = 50,
  kLock = 52,
  kGetlock = 54,
  kLink = 70,
  kMkdir = 72,
  kRenameat = 74,
  kUnlinkat = 76,
  kVersion = 100,
  kAttach = 104,
  kFlush = 108,
  kWalk = 110,
  kRead = 116,
  kWrite = 118,
  kClunk = 120,
  kRemove = 122,
};

}  // namespace

std::vector<uint8_t> Server::Handle(std::span<const uint8_t> request, size_t room) {
  Reader in(request);
  in.Take<uint32_t>();
  const auto type = in.Take<uint8_t>();
  const auto tag = in.Take<uint16_t>();
  room_ = std::min<size_t>(room, message_bytes_);
  const auto begin = [tag](uint8_t answer_type) {
    Writer out;
    out.Put<uint32_t>(0);
    out.Put<uint8_t>(answer_type);
    out.Put<uint16_t>(tag);
    return out;
  };
  Writer out = begin(static_cast<uint8_t>(type + 1));
  int error = 0;
  try {
    if (!in.Good()) throw HostError{EINVAL};
    Dispatch(type, in, out);
    if (out.Size() > room_) error = EMSGSIZE;
  } catch (const HostError& failure) {
    error = failure.code;
  }
  if (error != 0) {
    out = begin(kRlerror);
    out.Put<uint32_t>(static_cast<uint32_t>(error));
  }
  out.Patch<uint32_t>(0, static_cast<uint32_t>(out.Size()));
  return out.Finish();
}

void Server::Reset() {
  fids_.clear();
  message_bytes_ = kSmallestMessage;
}

void Server::Dispatch(uint8_t type, Reader& in, Writer& out) {
  switch (type) {
    case kStatfs:
      return StatFolder(in, out);
    case kLopen:
      return Open(in, out);
    case kLcreate:
      return Create(in, out);
    case kSymlink:
      return MakeLink(in, out);
    case kMknod:
      return MakeNode(in, out);
    case kRename:
      return Rename(in, out);
    case kReadlink:
      return ReadLink(in, out);
    case kGetattr:
      return GetAttributes(in, out);
    case kSetattr:
      return SetAttributes(in, out);
    case kXattrwalk:
      return AttributeWalk(in, out);
    case kXattrcreate:
      return AttributeCreate(in, out);
    case kReaddir:
      return ReadFolder(in, out);
    case kFsync:
      return Sync(in, out);
    case kLock:
      return Lock(in, out);
    case kGetlock:
      return GetLock(in, out);
    case kLink:
      return MakeHardLink(in, out);
    case kMkdir:
      return MakeFolder(in, out);
    case kRenameat:
      return RenameAt(in, out);
    case kUnlinkat:
      return UnlinkAt(in, out);
    case kVersion:
      return Version(in, out);
    case kAttach:
      return Attach(in, out);
    case kFlush:
      return;  // requests are answered in turn: there is none to flush
    case kWalk:
      return Walk(in, out);
    case kRead:
      return Read(in, out);
    case kWrite:
      return Write(in, out);
    case kClunk:
      return Clunk(in, out);
    case kRemove:
      return Remove(in, out);
    default:
      throw HostError{EOPNOTSUPP};  // Tauth among them: no authentication is needed
  }
}

// --- fids ---

Server::Fid& Server::Find(uint32_t number) {
  const auto found = fids_.find(number);
  if (found == fids_.end()) throw HostError{EBADF};
  return found->second;
}

Server::Fid& Server::FindOpen(uint32_t number) {
  Fid& fid = Find(number);
  if (!fid.io) throw HostError{EBADF};
  return fid;
}

Server::Fid& Server::Add(uint32_t number, NodePointer node) {
  if (fids_.size() >= kMostFids) throw HostError{ENFILE};
  const auto [place, added] = fids_.try_emplace(number);
  if (!added) throw HostError{EBADF};
  place->second.node = std::move(node);
  return place->second;
}

/// How much the answer may still hold.
size_t Server::MostData(const Writer& out) const { return room_ > out.Size() ? room_ - out.Size() : 0; }

void Server::PutQid(Writer& out, const struct stat& status) const {
  const uint8_t type = S_ISDIR(status.st_mode) ? kQidFolder : S_ISLNK(status.st_mode) ? kQidLink : 0;
  out.Put<uint8_t>(type);
  out.Put<uint32_t>(static_cast<uint32_t>(status.st_mtim.tv_sec) ^ static_cast<uint32_t>(status.st_mtim.tv_nsec << 2));
  // Folders below may be other file systems: their inodes must not look the same.
  const uint64_t device = status.st_dev - folder_.Status(*folder_.Root()).st_dev;
  out.Put<uint64_t>(status.st_ino ^ device << 48);
}

void Server::PutQidOf(Writer& out, const Node& folder, const std::string& name) const {
  struct stat status;
  if (fstatat(folder.fd.Get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) throw HostError{errno};
  PutQid(out, status);
}

// --- the session ---

void Server::Version(Reader& in, Writer& out) {
  const auto proposed = in.Take<uint32_t>();
  const std::string version = in.String();
  if (!in.Good() || proposed < kSmallestMessage) throw HostError{EINVAL};
  Reset();
  message_bytes_ = std::min(proposed, kLargestMessage);
  out.Put<uint32_t>(message_bytes_);
  out.String(version == "9P2000.L" ? version : "unknown");
}

void Server::Attach(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>();
  if (!in.Good()) throw HostError{EINVAL};
  const struct stat status = folder_.Status(*folder_.Root());
  Add(number, folder_.Root());
  PutQid(out, status);
}

/// As far as it goes; the new fid exists only when that is all the way.
void Server::Walk(Reader& in, Writer& out) {
  const auto number = in.Take<uint32_t>(), new_number = in.Take<uint32_t>();
  const auto count = in.Take<uint16_t>();
  if (!in.Good() || count > kMostNames) throw HostError{EINVAL};
  const Fid& from = Find(number);
  if (from.attribute != Fid::Attribute::kNone) throw HostError{EBADF};
  if (new_number != number && fids_.contains(new_number)) throw HostError{EBADF};
  NodePointer node = from.node;
  const size_t count_at = out.Size();
  out.Put<uint16_t>(0);
  uint16_t done = 0;
  for (; done < count; ++done) {
    const std::string name = in.String();
    if (!in.Good()) throw HostError{EINVAL};
    try {
      node = folder_.Walk(node, name);
      PutQid(out, folder_.Status(*node));
    } catch (const HostError&) {
      if (done == 0) throw;
      break;
    }
  }
  out.Patch<uint16_t>(count_at, done);
  if (done < count) return;
  if (new_number == number) {
    if (Find(number).io) throw HostError{EBADF};  // an open fid does not walk away
    Find(number).node = std::move(node);
  } else {
    Add(new_number, std::move(node));
  }
}

void Server::Clunk(Reader& in, Writer&) {
  const auto number = in.Take<uint32_t>();
  Fid fid = std::move(Find(number));
  fids_.erase(number);
  if (fid.attribute != Fid::Attribute::kWrite) return;
  if (fid.attribute_value.size() != fid.attribute_bytes) throw HostError{EINVAL};
  folder_.SetAttribute(*fid.node, fid.attribute_name, fid.attribute_value, fid.attribute_flags);
}

/// The fid is gone even when the file stays.
void Server::Remove(Reader& in, Writer&) {
  const auto number = in.Take<uint32_t>();
  const NodePointer node = Find(number).node;
  fids_.erase(number);
  if (!node->parent) throw HostError{EBUSY};
  folder_.Remove(*node->parent, node->name, S_ISDIR(folder_.Status(*node).st_mode));
}

}  // namespace ring3::ninep
