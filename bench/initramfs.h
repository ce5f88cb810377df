// An archive for the guest's kernel to unpack over the one it boots from.
#pragma once

#include <string>
#include <vector>

namespace ring3::bench {

struct ArchivedFile {
  std::string name;  // without a leading slash; its folder stands before it in the list, with `folder`
  std::string content;
  bool folder = false;
};

/// Writes to `path` the initramfs at `base`, then `files`, all executable, in cpio's "newc" format. Linux unpacks one
/// archive after the other.
void WriteInitramfs(const std::string& path, const std::string& base, const std::vector<ArchivedFile>& files);

std::string FileContent(const std::string& path);

}  // namespace ring3::bench
