#include "bench/initramfs.h"

#include <fmt/core.h>

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace ring3::bench {
namespace {

constexpr unsigned kFolderMode = 040755, kFileMode = 0100755;

void Pad(std::string& archive) { archive.resize((archive.size() + 3) / 4 * 4, '\0'); }

void AddEntry(std::string& archive, unsigned inode, const std::string& name, unsigned mode,
              const std::string& content) {
  // Fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check.
  archive += fmt::format("070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}", inode,
                         mode, 0, 0, 1, 0, content.size(), 0, 0, 0, 0, name.size() + 1, 0);
  archive += name;
  archive += '\0';
  Pad(archive);
  archive += content;
  Pad(archive);
}

}  // namespace

void WriteInitramfs(const std::string& path, const std::string& base, const std::vector<ArchivedFile>& files) {
  std::string archive = FileContent(base);
  Pad(archive);
  unsigned inode = 1;
  for (const ArchivedFile& file : files)
    AddEntry(archive, inode++, file.name, file.folder ? kFolderMode : kFileMode, file.content);
  AddEntry(archive, 0, "TRAILER!!!", 0, "");
  std::ofstream out(path, std::ios::binary);
  out << archive;
  out.close();
  if (!out) throw std::runtime_error("bench: cannot write " + path);
}

std::string FileContent(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file) throw std::runtime_error("bench: cannot read " + path);
  return content.str();
}

}  // namespace ring3::bench
