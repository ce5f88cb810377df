// A folder of the host that a guest may use, and no file outside it. Every object is held by a descriptor (O_PATH) that
// was reached from the folder one name at a time without following links; a path of several names is never resolved.
// So neither links nor "..", nor renames on the host meanwhile, lead out of it.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "devices/ninep/host_fd.h"

namespace ring3::ninep {

/// Functions that can fail throw this.
struct HostError {
  int code;  // errno
};

/// A file, folder, link or other object as it was found.
struct Node {
  std::shared_ptr<const Node> parent;  // none: the shared folder itself
  std::string name;                    // in the parent, when it was found or renamed
  HostFd fd;                           // O_PATH
};
using NodePointer = std::shared_ptr<const Node>;

class SharedFolder {
 public:
  /// Throws HostError when the folder cannot be opened.
  SharedFolder(const std::string& path, bool read_only);

  const NodePointer& Root() const { return root_; }
  bool ReadOnly() const { return read_only_; }

  /// "." is the same, ".." the folder through which this one was reached (of the root, itself). Any other name is
  /// looked up without following it.
  NodePointer Walk(const NodePointer& from, const std::string& name) const;

  struct stat Status(const Node& node) const;
  /// For input and output. `flags` are open(2)'s; nothing is created.
  HostFd Open(const Node& node, int flags) const;
  HostFd Create(const Node& folder, const std::string& name, int flags, mode_t mode) const;
  void MakeFolder(const Node& folder, const std::string& name, mode_t mode) const;
  /// Sockets, pipes and plain files; devices are refused.
  void MakeNode(const Node& folder, const std::string& name, mode_t mode) const;
  void MakeLink(const Node& folder, const std::string& name, const std::string& target) const;
  void MakeHardLink(const Node& folder, const std::string& name, const Node& target) const;
  std::string LinkTarget(const Node& link) const;
  void Remove(const Node& folder, const std::string& name, bool is_folder) const;
  void Rename(const Node& from, const std::string& name, const Node& to, const std::string& new_name) const;

  void SetMode(const Node& node, mode_t mode) const;
  void SetOwner(const Node& node, uid_t user, gid_t group) const;
  void SetSize(const Node& node, uint64_t bytes) const;
  void SetTimes(const Node& node, const timespec times[2]) const;

  /// Extended attributes: those of users only.
  std::vector<uint8_t> Attribute(const Node& node, const std::string& name) const;
  /// Names, each ended by a zero.
  std::vector<uint8_t> AttributeNames(const Node& node) const;
  /// No bytes: removes it.
  void SetAttribute(const Node& node, const std::string& name, const std::vector<uint8_t>& value, int flags) const;

  /// Throws EROFS where the guest may not write.
  void RequireWritable() const;

 private:
  NodePointer root_;
  bool read_only_;
};

}  // namespace ring3::ninep
